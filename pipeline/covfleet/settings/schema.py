"""Settings: ``[tool.covfleet]`` in pyproject.toml < environment (``COVFLEET_…``) < flags; all faults at once.

This is the schema, one class a table; ``covfleet.settings.load`` reads the three sources into it.
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
    PluginVersion,
    RepositoryUrl,
    WebUrl,
)

Percent = Annotated[Decimal, Field(ge=0, le=100)]


class Section(BaseModel):
    """A table of settings: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageSettings(Section):
    """``[tool.covfleet.image]``: the application's Docker image."""

    repository: str = Field(
        default="covfleet-app", description="Name of the image, with the registry in front to push to one."
    )
    dockerfile: Path | None = Field(
        default=None, description="The application's Dockerfile; without one, covfleet's default."
    )
    context: Path = Field(default=Path(), description="The build context, relative to the project.")
    base: str = Field(default="python:3.12-slim", description="Base image of the default Dockerfile.")
    build_args: dict[str, str] = Field(default_factory=dict, description="Further build arguments.")
    ca_bundle: Path | None = Field(
        default=None, description="CA certificates that pip needs during the build; not kept."
    )
    python: str = Field(default="python", description="The interpreter inside the image.")
    push: bool = Field(
        default=False, description="Push after the build, and pull instead of building when it exists."
    )


class ContainerSettings(Section):
    """``[tool.covfleet.container]``: limits and hardening of the shards' containers."""

    memory: str = Field(
        default="4g", pattern=r"^\d+[bkmg]?$", description="Memory limit, as Docker writes it."
    )
    cpus: float | None = Field(default=None, gt=0, description="CPU limit; none by default.")
    pids: int = Field(default=2048, ge=16, description="Limit of processes and threads.")
    network: str = Field(
        default="none", description="Docker network mode of the tests: none, host, bridge or a name."
    )
    read_only: bool = Field(default=True, description="Read-only root file system; /tmp is always writable.")
    user: str = Field(
        default="",
        pattern=r"^(\d+(:\d+)?)?$",
        description="Numeric user[:group]; by default one without rights.",
    )
    tmpfs: str = Field(default="1g", pattern=r"^\d+[bkmg]?$", description="Size of /tmp.")
    keep: bool = Field(default=False, description="Keep containers for debugging instead of removing them.")


class S3Settings(Section):
    """``[tool.covfleet.s3]``: how to speak to the S3 endpoint. Credentials come from boto3's own chain."""

    addressing: Literal["auto", "path", "virtual"] = Field(
        default="auto", description="Where the bucket's name goes."
    )
    region: str | None = Field(default=None, description="Region; by default that of boto3's own settings.")
    connections: int = Field(default=16, ge=1, le=128, description="Parallel transfers.")
    attempts: int = Field(default=5, ge=1, le=20, description="Attempts a request, the first included.")
    timeout_s: float = Field(
        default=30.0, gt=0, description="Connect and read timeout of a request, in seconds."
    )


class GroupSettings(Section):
    """``[[tool.covfleet.groups]]``: a suite that pytest doesn't drive, run under ``coverage run``."""

    name: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z._-]*$", description="Name of the group.")
    command: str = Field(min_length=1, description="For example: python -m unittest discover trades")

    @field_validator("command")
    @classmethod
    def _is_shell_words(cls, command: str) -> str:
        if not shlex.split(command):
            raise ValueError("there is no command in it")
        return command


class GateSettings(Section):
    """``[tool.covfleet.gate]``: thresholds; a build below one ends with exit code 4."""

    total: Percent | None = Field(
        default=None, description="Least total coverage, as coverage.py's reports show it."
    )
    line: Percent | None = Field(default=None, description="Least share of executed statements.")
    branch: Percent | None = Field(default=None, description="Least share of taken branches.")


class PublishSettings(Section):
    """``[tool.covfleet.publish]``: where the reports go."""

    site: str | None = Field(default=None, description="A folder or s3://bucket/prefix that holds the site.")


class Ec2Settings(Section):
    """``[tool.covfleet.jenkins.ec2]``: the cloud that starts agents; rendered if ``ami`` is set."""

    ami: str = Field(
        default="",
        pattern=r"^(ami-[0-9a-f]{8,17})?$",
        description="Image of the agents' machines; without one no cloud is rendered.",
    )
    plugin: PluginVersion = Field(
        default="2059.v05f9d511d7e5", description="Version of the ec2 plugin that the file is for."
    )
    cloud: JobName = Field(default="covfleet", description="Name of the cloud on the controller.")
    region: str = Field(
        default="us-east-1", pattern=r"^[a-z]{2,4}(-[a-z]+)+-\d$", description="AWS region of the machines."
    )
    instance_type: str = Field(
        default="m5.large", pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$", description="Type of the machines."
    )
    light_instance_type: str = Field(
        default="t3.medium",
        pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$",
        description="Type of the machines that plan, combine and report; always on demand.",
    )
    light_cap: int = Field(default=4, ge=1, le=100, description="How many of these there are at most.")
    spot: bool = Field(
        default=True, description="Spot instances, and on demand where there is none; false: on demand only."
    )
    idle_min: int = Field(
        default=10, ge=1, le=1440, description="Minutes without work after which a machine is ended."
    )
    instance_profile: str = Field(
        default="",
        pattern=r"^(arn:[0-9a-z-]+:iam::\d{12}:instance-profile/[\w+=,.@/-]+)?$",
        description="ARN of the machines' instance profile: their right to use the store.",
    )
    ssh_credentials: CredentialsId = Field(
        default="covfleet-agents", description="Credentials id of the private key that agents are reached by."
    )
    credentials: CredentialsId = Field(
        default="",
        description="Credentials id that the controller starts machines with; empty: its instance profile.",
    )
    security_groups: tuple[Annotated[str, Field(pattern=r"^[\w.-]+$")], ...] = Field(
        default=(), description="Security groups of the machines."
    )
    subnet: str = Field(
        default="", pattern=r"^(subnet-[0-9a-f]{8,17})?$", description="Subnet of the machines."
    )
    remote_user: str = Field(
        default="ec2-user", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="Who logs in on the machines."
    )
    host_key_check: Literal["CHECK_NEW_HARD", "CHECK_NEW_SOFT", "ACCEPT_NEW", "OFF"] = Field(
        default="CHECK_NEW_SOFT", description="How the ec2 plugin checks the machines' SSH keys."
    )
    requirement: str = Field(
        default="covfleet",
        pattern=r"^[0-9A-Za-z][^\s'\"$`\\]*$",
        description="What pip installs on the machines: covfleet, covfleet==0.2, or an address.",
    )


class JenkinsSettings(Section):
    """``[tool.covfleet.jenkins]``: what ``covfleet jenkins`` renders, and the controller it speaks with."""

    url: WebUrl = Field(default="", description="The controller; user and token come from the environment.")
    folder: FolderName = Field(default="", description="Jenkins folder of the jobs; empty: the top.")
    job: JobName = Field(
        default="covfleet", description="Name of the pipeline job; the others begin with it."
    )
    drivers: tuple[Literal["pipeline", "multijob"], ...] = Field(
        default=("pipeline", "multijob"), min_length=1, description="Which jobs there are."
    )
    label: Label = Field(default="covfleet-shard", description="Label of the agents that run shards.")
    light_label: Label = Field(
        default="covfleet", description="Label of the agents that plan, combine and report."
    )
    repository: RepositoryUrl = Field(default="", description="The git repository that the jobs check out.")
    branch: BranchName = Field(default="main", description="The branch that is built unless a build says so.")
    git_credentials: CredentialsId = Field(
        default="", description="Credentials id for the git repository; empty: none."
    )
    credentials: CredentialsId = Field(
        default="", description="Credentials id of the AWS keys for the store; empty: an instance profile."
    )
    timeout_min: int = Field(default=120, ge=1, le=10080, description="Time limit of a build, in minutes.")
    shard_timeout_min: int = Field(
        default=60, ge=1, le=10080, description="Time limit of a shard, in minutes."
    )
    keep_builds: int = Field(default=50, ge=1, le=10000, description="How many builds Jenkins keeps.")
    covfleet: CommandLine = Field(default="covfleet", description="How agents call covfleet.")
    output: InnerPath = Field(
        default="jenkins", description="Folder of the generated files, beside the Jenkinsfile at the top."
    )
    templates: InnerPath = Field(
        default="templates/jenkins", description="Folder of the project's own templates; they win over ours."
    )
    plugins: dict[str, PluginVersion] = Field(
        default_factory=dict, description="Least versions of Jenkins plugins, other than covfleet's own."
    )
    steps: dict[str, str] = Field(
        default_factory=dict,
        description="Further steps of the project's own templates: the plugin of each, or nothing.",
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
        """The words of the command that agents call covfleet with."""
        return tuple(shlex.split(self.covfleet))


class Settings(Section):
    """``[tool.covfleet]``: everything that can be set, with its default."""

    shards: int = Field(default=2, ge=1, le=1000, description="How many shards the tests are dealt to.")
    procs: int = Field(default=1, ge=1, le=64, description="Worker processes a shard.")
    executor: Executor = Field(
        default="process", description="What a worker is: a plain process or a Docker container."
    )
    store: str = Field(
        default=".covfleet/store", description="A folder (relative to the project) or s3://bucket/prefix."
    )
    endpoint_url: str | None = Field(default=None, description="Another S3 server than AWS's.")
    compression: Compression | None = Field(
        default=None,
        description="How data files travel: zstd or none; by default zstd to S3, none to a folder.",
    )
    python: str | None = Field(default=None, description="The application's interpreter, for processes.")
    pytest: bool = Field(
        default=True, description="Collect and run tests with pytest; false with command groups only."
    )
    pytest_args: tuple[str, ...] = Field(default=(), description="Arguments for pytest: paths, -k, -m, …")
    import_all: bool = Field(
        default=False,
        description="Every shard imports every test file, for suites whose files rely on each other.",
    )
    groups: tuple[GroupSettings, ...] = ()
    unit: Literal["file", "test"] = Field(default="file", description="What is never split over two batches.")
    batch_s: float = Field(
        default=0.0, ge=0, description="Wanted duration of a batch in seconds; 0: chosen from the total."
    )
    branch_coverage: bool | None = Field(
        default=None, description="Measure branches; by default as the project's own settings say."
    )
    contexts: bool = Field(default=False, description="Record which test ran each line.")
    core: Literal["auto", "ctrace", "monitor", "sysmon", "pytrace"] = Field(
        default="auto", description="Measuring core: coverage.py's, or covfleet's own, monitor, for contexts."
    )
    compare_cores: int = Field(
        default=0,
        ge=0,
        le=100,
        description="Percent of the batches that run again under both cores for contexts, to compare them.",
    )
    sources: tuple[str, ...] = Field(
        default=(), description="Globs of further files that belong to the project, such as generated ones."
    )
    env: dict[str, str] = Field(default_factory=dict, description="Environment variables for the tests.")
    lease_s: float = Field(
        default=30.0, gt=0, description="After how many seconds of silence a shard's batches are taken over."
    )
    heartbeat_s: float | None = Field(
        default=None,
        gt=0,
        description="Seconds between two signs of life of a shard; by default 5 on S3, 0.5 in a folder.",
    )
    checkpoint_s: float = Field(
        default=2.0, gt=0, description="Least seconds between two savings of coverage inside a batch."
    )
    batch_timeout_s: float = Field(default=1800.0, gt=0, description="Time limit of a batch, in seconds.")
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
            raise ValueError(f"two groups have the same name: {', '.join(twice)}")
        return groups

    @model_validator(mode="after")
    def _live_shards_keep_their_lease(self) -> Self:
        if self.lease_s < 2 * self.beat_s:
            raise ValueError(
                "lease_s must be at least twice heartbeat_s, or shards that live lose their batches"
            )
        return self

    @property
    def compresses(self) -> bool:
        """Whether data files travel compressed: as set, else where they travel over a network."""
        return self.compression == "zstd" if self.compression else "://" in self.store

    @property
    def beat_s(self) -> float:
        """Seconds between two heartbeats: as set, else rarely where each write costs money."""
        return self.heartbeat_s or (5.0 if "://" in self.store else 0.5)
