"""Groovy's own parser, through npm-groovy-lint (https://www.npmjs.com/package/npm-groovy-lint), on Java.

It checks only for syntax errors: its style rules are meant for Groovy in Java projects.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from covfleet.errors import PipelineError, ServiceError

PROGRAM = "npm-groovy-lint"
_TIMEOUT_S = 120.0
_PARSE_ERROR = "NglParseError"


class GroovyLint:
    """Implements ``jenkins.lint.Parser``. ``environ`` is the environment for finding and running programs."""

    name = PROGRAM

    def __init__(self, environ: Mapping[str, str], *, timeout_s: float = _TIMEOUT_S) -> None:
        self._environ = environ
        self._timeout_s = timeout_s

    def errors(self, groovy: str) -> str:
        """Return the syntax errors of a Groovy file, each with ``@ line L, column C.``; empty without any.

        Raises:
            ServiceError: the program is missing, has no Java, or doesn't end.
        """
        program = shutil.which(PROGRAM, path=self._environ.get("PATH"))
        if program is None:
            raise _missing(PROGRAM)
        if shutil.which("java", path=self._environ.get("PATH")) is None:
            raise _missing("java")
        with tempfile.TemporaryDirectory(prefix="covfleet-lint-") as folder:
            (Path(folder) / "Jenkinsfile").write_text(groovy, "utf-8")
            # Keeps the program from using a configuration file in a parent folder.
            (Path(folder) / ".groovylintrc.json").write_text('{"rules": {"UnnecessarySemicolon": "off"}}')
            return _messages(self._run(program, folder))

    def _run(self, program: str, folder: str) -> str:
        """Run it without its server, which would stay behind; kill it and its Java after the timeout."""
        arguments = ["--noserver", "--output", "json", "--failon", "none", "--config", folder, "Jenkinsfile"]
        process = subprocess.Popen(
            [program, *arguments],
            cwd=folder,
            env=dict(self._environ),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            output, errors = process.communicate(timeout=self._timeout_s)
        except subprocess.TimeoutExpired as error:
            raise ServiceError(f"{PROGRAM} didn't end within {self._timeout_s:.0f} s") from error
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode:
            said = (errors.strip() or output.strip())[-500:]
            raise ServiceError(
                f"{PROGRAM} failed with status {process.returncode}: {said}", hint=_HOW[PROGRAM]
            )
        return output


def _messages(output: str) -> str:
    try:
        files: dict[str, Any] = json.loads(output[output.index("{") :])["files"]
        errors = [error for file in files.values() for error in file["errors"]]
        return "\n".join(str(error["msg"]) for error in errors if error["rule"] == _PARSE_ERROR)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise PipelineError(f"{PROGRAM} printed something other than its report: {output[:200]!r}") from error


_HOW = {
    PROGRAM: f"Install it: npm install --global {PROGRAM}@15.2.2. Or set jenkins.url to use a controller.",
    "java": "Install Java 17 or newer (Debian: apt-get install default-jre-headless), or set jenkins.url.",
}


def _missing(program: str) -> ServiceError:
    return ServiceError(f"can't find {program}, which is needed to parse Groovy", hint=_HOW[program])
