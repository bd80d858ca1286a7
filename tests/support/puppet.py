"""A worker for tests: evaluates each line of its input as Python, and answers with the value as JSON.

Runs inside containers and plain processes; imports nothing of covfleet.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

OUT = Path(sys.argv[1])
TOOLS = {
    "OUT": OUT,
    "Path": Path,
    "os": os,
    "signal": signal,
    "socket": socket,
    "subprocess": subprocess,
    "sys": sys,
    "threading": threading,
    "time": time,
}


def answer(expression):
    try:
        return {"value": eval(expression, TOOLS)}
    except BaseException as error:
        return {"error": f"{type(error).__name__}: {error}"}


for line in sys.stdin:
    print(json.dumps(answer(line.strip()), default=str), flush=True)
