"""Settings: ``[tool.covfleet]`` in pyproject.toml < environment (``COVFLEET_…``) < flags; all faults at once."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.model import Executor

Percent = Annotated[Decimal, Field(ge=0, le=100)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageSettings(_Section):
    """``[tool.covfleet.image]``: the application's Docker image."""

    repository: str = Field("covfleet-app", description="Name of the image, with the registry in front to push to one.")
    dockerfile: Path | None = Field(None, description="The application's Dockerfile; without one, covfleet's default.")
    context: Path = Field(Path("."), description="The build context, relative to the project.")
    base: str = Field("python:3.12-slim", description="Base image of the default Dockerfile.")
    build_args: dict[str, str] = Field(default_factory=dict, description="Further build arguments.")
    ca_bundle: Path | None = Field(None, description="CA certificates that pip needs during the build; not kept.")
    python: str = Field("python", description="The interpreter inside the image.")
    push: bool = Field(False, description="Push after the build, and pull instead of building when it exists.")


class ContainerSettings(_Section):
    """``[tool.covfleet.container]``: limits and hardening of the shards' containers."""

    memory: str = Field("4g", pattern=r"^\d+[bkmg]?$", description="Memory limit, as Docker writes it.")
    cpus: float | None = Field(None, gt=0, description="CPU limit; none by default.")
    pids: int = Field(2048, ge=16, description="Limit of processes and threads.")
    network: str = Field("none", description="Docker network mode of the tests: none, host, bridge or a name.")
    read_only: bool = Field(True, description="Read-only root file system; /tmp is always writable.")
    user: str = Field("", pattern=r"^(\d+(:\d+)?)?$", description="Numeric user[:group]; by default one without rights.")
    tmpfs: str = Field("1g", pattern=r"^\d+[bkmg]?$", description="Size of /tmp.")
    keep: bool = Field(False, description="Keep containers for debugging instead of removing them.")


class S3Settings(_Section):
    """``[tool.covfleet.s3]``: how to speak to the S3 endpoint. Credentials come from boto3's own chain."""

    addressing: Literal["auto", "path", "virtual"] = Field("auto", description="Where the bucket's name goes.")
    region: str | None = Field(None, description="Region; by default that of boto3's own settings.")
    connections: int = Field(16, ge=1, le=128, description="Parallel transfers.")
    attempts: int = Field(5, ge=1, le=20, description="Attempts a request, the first included.")
    timeout_s: float = Field(30.0, gt=0, description="Connect and read timeout of a request, in seconds.")


class GroupSettings(_Section):
    """``[[tool.covfleet.groups]]``: a suite that pytest doesn't drive, run under ``coverage run``."""

    name: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$", description="Name of the group.")
    command: str = Field(min_length=1, description="For example: python -m unittest discover trades")


class GateSettings(_Section):
    """``[tool.covfleet.gate]``: thresholds; a build below one ends with exit code 4."""

    total: Percent | None = Field(None, description="Least total coverage, as coverage.py's reports show it.")
    line: Percent | None = Field(None, description="Least share of executed statements.")
    branch: Percent | None = Field(None, description="Least share of taken branches.")


class PublishSettings(_Section):
    """``[tool.covfleet.publish]``: where the reports go."""

    site: str | None = Field(None, description="A folder or s3://bucket/prefix that holds the site.")


class Settings(_Section):
    """``[tool.covfleet]``: everything that can be set, with its default."""

    shards: int = Field(2, ge=1, le=1000, description="How many shards the tests are dealt to.")
    procs: int = Field(1, ge=1, le=64, description="Worker processes a shard.")
    executor: Executor = Field("process", description="What a worker is: a plain process or a Docker container.")
    store: str = Field(".covfleet/store", description="A folder (relative to the project) or s3://bucket/prefix.")
    endpoint_url: str | None = Field(None, description="Another S3 server than AWS's.")
    python: str | None = Field(None, description="The application's interpreter, for processes.")
    pytest: bool = Field(True, description="Collect and run tests with pytest; false with command groups only.")
    pytest_args: tuple[str, ...] = Field((), description="Arguments for pytest: paths, -k, -m, …")
    groups: tuple[GroupSettings, ...] = ()
    unit: Literal["file", "test"] = Field("file", description="What is never split over two batches.")
    batch_s: float = Field(0.0, ge=0, description="Wanted duration of a batch in seconds; 0: chosen from the total.")
    branch_coverage: bool | None = Field(None, description="Measure branches; by default as the project's own settings say.")
    contexts: bool = Field(False, description="Record which test ran each line.")
    core: Literal["auto", "ctrace", "sysmon", "pytrace"] = Field("auto", description="coverage.py's measuring core.")
    sources: tuple[str, ...] = Field((), description="Globs of further files that belong to the project, such as generated ones.")
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables for the tests.")
    lease_s: float = Field(30.0, gt=0, description="After how many seconds of silence a shard's batches are taken over.")
    heartbeat_s: float = Field(5.0, gt=0, description="Seconds between two signs of life of a shard.")
    checkpoint_s: float = Field(2.0, gt=0, description="Least seconds between two savings of coverage inside a batch.")
    batch_timeout_s: float = Field(1800.0, gt=0, description="Time limit of a batch, in seconds.")
    image: ImageSettings = ImageSettings()
    container: ContainerSettings = ContainerSettings()
    s3: S3Settings = S3Settings()
    gate: GateSettings = GateSettings()
    publish: PublishSettings = PublishSettings()
