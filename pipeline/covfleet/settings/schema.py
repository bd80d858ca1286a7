"""The schema of the settings: one class per table of ``[tool.covfleet]``.

``covfleet.settings.load`` reads the three sources into it: pyproject.toml < environment (``COVFLEET_…``) <
flags.
"""

from __future__ import annotations

import shlex
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from covfleet.model import Compression, Executor
from covfleet.settings.names import (
    BranchName,
    CommandLine,
    CredentialsId,
    FolderName,
    InnerPath,
    JobName,
    Label,
    PassedVariables,
    PluginVersion,
    RepositoryUrl,
    WebUrl,
)

Percent = Annotated[Decimal, Field(ge=0, le=100)]


class Section(BaseModel):
    """A table of settings; unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageSettings(Section):
    """``[tool.covfleet.image]``: the application's Docker image."""

    repository: str = Field(
        default="covfleet-app",
        description="Name of the image; to push it, prefix the name with a registry.",
    )
    dockerfile: Path | None = Field(
        default=None, description="The application's Dockerfile; by default covfleet's own."
    )
    context: Path = Field(default=Path(), description="Build context, relative to the project.")
    base: str = Field(default="python:3.12-slim", description="Base image of the default Dockerfile.")
    build_args: dict[str, str] = Field(default_factory=dict, description="Additional build arguments.")
    ca_bundle: Path | None = Field(
        default=None,
        description="CA certificates for pip during the build; they don't stay in the image.",
    )
    python: str = Field(default="python", description="Python interpreter inside the image.")
    push: bool = Field(
        default=False,
        description="Push the image after building it, and pull instead of building if the registry has it.",
    )


class ContainerSettings(Section):
    """``[tool.covfleet.container]``: limits and hardening of the shards' containers."""

    memory: str = Field(
        default="4g", pattern=r"^\d+[bkmg]?$", description="Memory limit in Docker's notation."
    )
    cpus: float | None = Field(default=None, gt=0, description="CPU limit; unlimited by default.")
    pids: int = Field(default=2048, ge=16, description="Maximum number of processes and threads.")
    network: str = Field(
        default="none",
        description="Docker network mode for the tests: none, host, bridge or a network's name.",
    )
    read_only: bool = Field(
        default=True, description="Mount the root file system read-only; /tmp stays writable."
    )
    user: str = Field(
        default="",
        pattern=r"^(\d+(:\d+)?)?$",
        description="Numeric user[:group]; by default an unprivileged one.",
    )
    tmpfs: str = Field(
        default="1g", pattern=r"^\d+[bkmg]?$", description="Size of /tmp in Docker's notation."
    )
    keep: bool = Field(default=False, description="Keep the containers for debugging.")


class S3Settings(Section):
    """``[tool.covfleet.s3]``: access to the S3 endpoint. Credentials come from boto3's own chain."""

    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto", description="Put the bucket's name in the host name (virtual) or in the path (path)."
    )
    region: str | None = Field(default=None, description="AWS region; by default the one that boto3 finds.")
    connections: int = Field(default=16, ge=1, le=128, description="Number of parallel transfers.")
    attempts: int = Field(default=5, ge=1, le=20, description="Attempts per request, including the first.")
    timeout_s: float = Field(
        default=30.0, gt=0, description="Connect and read timeout per request, in seconds."
    )


class GroupSettings(Section):
    """``[[tool.covfleet.groups]]``: a suite that doesn't use pytest, run under ``coverage run``."""

    name: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$", description="Name of the group.")
    command: str = Field(
        min_length=1, description="Command of the group, such as python -m unittest discover trades."
    )

    @field_validator("command")
    @classmethod
    def _is_shell_words(cls, command: str) -> str:
        if not shlex.split(command):
            raise ValueError("it contains no command")
        return command


class GateSettings(Section):
    """``[tool.covfleet.gate]``: thresholds; a build below one exits with 4."""

    total: Percent | None = Field(
        default=None, description="Minimum total coverage as coverage.py counts it, in percent."
    )
    line: Percent | None = Field(
        default=None, description="Minimum share of executed statements, in percent."
    )
    branch: Percent | None = Field(default=None, description="Minimum share of taken branches, in percent.")


class PublishSettings(Section):
    """``[tool.covfleet.publish]``: the destination of the reports."""

    site: str | None = Field(
        default=None, description="Location of the site: a folder or s3://bucket/prefix."
    )


class Ec2Settings(Section):
    """``[tool.covfleet.jenkins.ec2]``: the cloud that starts the agents; rendered if ``ami`` is set."""

    ami: str = Field(
        default="",
        pattern=r"^(ami-[0-9a-f]{8,17})?$",
        description="AMI of the agents' machines; without one, no cloud is rendered.",
    )
    plugin: PluginVersion = Field(
        default="2059.v05f9d511d7e5", description="Version of the ec2 plugin on the controller."
    )
    cloud: JobName = Field(default="covfleet", description="Name of the cloud on the controller.")
    region: str = Field(
        default="us-east-1", pattern=r"^[a-z]{2,4}(-[a-z]+)+-\d$", description="AWS region of the machines."
    )
    instance_type: str = Field(
        default="m5.large",
        pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$",
        description="Instance type of the machines that run shards.",
    )
    light_instance_type: str = Field(
        default="t3.medium",
        pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$",
        description="Instance type of the machines that plan, combine and report; always on-demand.",
    )
    light_cap: int = Field(
        default=4, ge=1, le=100, description="Maximum number of machines that plan, combine and report."
    )
    spot: bool = Field(
        default=True,
        description="Run shards on spot instances, falling back to on-demand ones; false: on-demand only.",
    )
    idle_min: int = Field(
        default=10, ge=1, le=1440, description="Terminate a machine after this many idle minutes."
    )
    instance_profile: str = Field(
        default="",
        pattern=r"^(arn:[0-9a-z-]+:iam::\d{12}:instance-profile/[\w+=,.@/-]+)?$",
        description="ARN of the machines' instance profile, which gives them access to the store.",
    )
    ssh_credentials: CredentialsId = Field(
        default="covfleet-agents",
        description="Credentials id of the SSH private key for connecting to the agents.",
    )
    credentials: CredentialsId = Field(
        default="",
        description="Credentials id for starting machines; empty: the controller's instance profile.",
    )
    security_groups: tuple[Annotated[str, Field(pattern=r"^[\w.-]+$")], ...] = Field(
        default=(), description="Security groups of the machines."
    )
    subnet: str = Field(
        default="", pattern=r"^(subnet-[0-9a-f]{8,17})?$", description="Subnet of the machines."
    )
    remote_user: str = Field(
        default="ec2-user",
        pattern=r"^[a-z_][a-z0-9_-]{0,31}$",
        description="User that logs in on the machines.",
    )
    host_key_check: Literal["CHECK_NEW_HARD", "CHECK_NEW_SOFT", "ACCEPT_NEW", "OFF"] = Field(
        default="CHECK_NEW_SOFT", description="How the ec2 plugin checks the machines' SSH keys."
    )
    requirement: str = Field(
        default="covfleet",
        pattern=r"^[0-9A-Za-z][^\s'\"$`\\]*$",
        description="Requirement that pip installs on the machines: covfleet, covfleet==0.2, or a URL; with "
        "[jenkins], if builds check the generated files for drift.",
    )


class JenkinsSettings(Section):
    """``[tool.covfleet.jenkins]``: the files that ``covfleet jenkins`` generates, and the controller."""

    url: WebUrl = Field(
        default="", description="URL of the controller; user and token come from the environment."
    )
    folder: FolderName = Field(default="", description="Jenkins folder of the jobs; empty: the top level.")
    job: JobName = Field(
        default="covfleet", description="Name of the pipeline job, and prefix of the other jobs' names."
    )
    drivers: tuple[Literal["pipeline", "multijob"], ...] = Field(
        default=("pipeline", "multijob"), min_length=1, description="Jobs to generate."
    )
    label: Label = Field(default="covfleet-shard", description="Label of the agents that run shards.")
    light_label: Label = Field(
        default="covfleet", description="Label of the agents that plan, combine and report."
    )
    repository: RepositoryUrl = Field(
        default="", description="URL of the git repository that the jobs check out."
    )
    branch: BranchName = Field(default="main", description="Branch to build unless a build names another.")
    git_credentials: CredentialsId = Field(
        default="", description="Credentials id for the git repository; empty: none."
    )
    credentials: CredentialsId = Field(
        default="",
        description="Credentials id of the AWS keys for the store; empty: the agents' instance profile.",
    )
    timeout_min: int = Field(default=120, ge=1, le=10080, description="Time limit of a build, in minutes.")
    shard_timeout_min: int = Field(
        default=60, ge=1, le=10080, description="Time limit of a shard, in minutes."
    )
    keep_builds: int = Field(default=50, ge=1, le=10000, description="Number of builds that Jenkins keeps.")
    covfleet: CommandLine = Field(default="covfleet", description="Command that runs covfleet on the agents.")
    output: InnerPath = Field(
        default="jenkins",
        description="Folder of the generated files; only the Jenkinsfile is in the project's root.",
    )
    templates: InnerPath = Field(
        default="templates/jenkins",
        description="Folder of the project's own templates, which override covfleet's.",
    )
    plugins: dict[str, PluginVersion] = Field(
        default_factory=dict, description="Minimum versions of Jenkins plugins, overriding covfleet's."
    )
    steps: dict[str, str] = Field(
        default_factory=dict,
        description="Additional steps in the project's templates, each with its plugin, or an empty string.",
    )
    ec2: Ec2Settings = Ec2Settings()

    @field_validator("drivers")
    @classmethod
    def _are_different(cls, drivers: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(drivers)) < len(drivers):
            raise ValueError("name each of them once")
        return drivers

    @property
    def command(self) -> tuple[str, ...]:
        """The words of the command that runs covfleet on the agents."""
        return tuple(shlex.split(self.covfleet))


class Settings(Section):
    """``[tool.covfleet]``: all settings with their defaults."""

    shards: int = Field(default=2, ge=1, le=1000, description="Number of shards to deal the tests to.")
    procs: int = Field(default=1, ge=1, le=64, description="Worker processes per shard.")
    executor: Executor = Field(
        default="process", description="Run the tests in plain processes or in Docker containers."
    )
    store: str = Field(
        default=".covfleet/store",
        description="Where builds are stored: a folder (relative to the project) or s3://bucket/prefix.",
    )
    endpoint_url: str | None = Field(default=None, description="Address of an S3 server other than AWS.")
    compression: Compression | None = Field(
        default=None,
        description="Compression of data files: zstd or none; by default zstd on S3, none in a folder.",
    )
    python: str | None = Field(
        default=None,
        description="Interpreter that runs the tests, for plain processes: a file, an environment's folder "
        "or a command; by default that of the active environment, or the project's own.",
    )
    pytest: bool = Field(
        default=True,
        description="Collect and run tests with pytest; false runs only the command groups.",
    )
    pytest_args: tuple[str, ...] = Field(default=(), description="Arguments for pytest: paths, -k, -m, …")
    import_all: bool = Field(
        default=False,
        description="Import every test file in every shard, for suites whose files depend on each other.",
    )
    groups: tuple[GroupSettings, ...] = ()
    unit: Literal["file", "test"] = Field(
        default="file", description="Smallest unit of a batch: a whole test file or a single test."
    )
    batch_s: float = Field(
        default=0.0,
        ge=0,
        description="Target duration of a batch, in seconds; 0 derives it from the suite's total.",
    )
    branch_coverage: bool | None = Field(
        default=None,
        description="Measure branch coverage; by default as the project's coverage settings say.",
    )
    rcfile: str | None = Field(
        default=None,
        description="coverage.py's settings file; by default $COVERAGE_RCFILE, or what it finds itself.",
    )
    contexts: bool = Field(default=False, description="Record which tests ran each line.")
    core: Literal["auto", "ctrace", "monitor", "sysmon", "pytrace"] = Field(
        default="auto",
        description="Measuring core: one of coverage.py's, or monitor, covfleet's own for contexts.",
    )
    compare_cores: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Percentage of batches to run again under both cores for contexts, to compare the cores.",
    )
    sources: tuple[str, ...] = Field(
        default=(), description="Globs of additional files of the project, such as generated ones."
    )
    env: dict[str, str] = Field(
        default_factory=dict,
        description="Environment variables for the tests; {build}, {shard}, {slot}, {worker} are filled in.",
    )
    env_pass: PassedVariables = Field(
        default=(),
        description="Names of environment variables of the agent that the tests get, if set.",
    )
    xdist_worker: bool = Field(
        default=True, description="Workers tell tests who they are as those of pytest-xdist do."
    )
    lease_s: float = Field(
        default=30.0,
        gt=0,
        description="Seconds without a heartbeat after which other shards take over a shard's batches.",
    )
    heartbeat_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds between a shard's heartbeats; by default 5 on S3, 0.5 in a folder.",
    )
    checkpoint_s: float = Field(
        default=2.0, gt=0, description="Minimum seconds between two saves of coverage data within a batch."
    )
    batch_timeout_s: float = Field(default=1800.0, gt=0, description="Time limit of a batch, in seconds.")
    collect_timeout_s: float = Field(
        default=300.0, gt=0, description="Time limit for importing and collecting a test file, in seconds."
    )
    image: ImageSettings = ImageSettings()
    container: ContainerSettings = ContainerSettings()
    s3: S3Settings = S3Settings()
    gate: GateSettings = GateSettings()
    publish: PublishSettings = PublishSettings()
    jenkins: JenkinsSettings = JenkinsSettings()

    @field_validator("groups")
    @classmethod
    def _have_names_of_their_own(cls, groups: tuple[GroupSettings, ...]) -> tuple[GroupSettings, ...]:
        names = [group.name for group in groups]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"several groups have the same name: {', '.join(twice)}")
        return groups

    @model_validator(mode="after")
    def _live_shards_keep_their_lease(self) -> Self:
        if self.lease_s < 2 * self.beat_s:
            raise ValueError("lease_s must be at least twice heartbeat_s, or live shards lose their batches")
        return self

    @property
    def compresses(self) -> bool:
        """Whether to store data files compressed: as set, or by default if the store is remote."""
        return self.compression == "zstd" if self.compression else "://" in self.store

    @property
    def coverage_file(self) -> str:
        """The file with coverage.py's settings if one is named, by whatever means; else empty."""
        return self.rcfile or self.env.get("COVERAGE_RCFILE", "")

    @property
    def beat_s(self) -> float:
        """Seconds between two heartbeats: as set, or by default fewer writes where each costs money."""
        return self.heartbeat_s or (5.0 if "://" in self.store else 0.5)
