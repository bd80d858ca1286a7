"""The values that stages exchange: frozen, validated, and written to the store as JSON.

Durations are seconds, sizes bytes, percentages 0 to 100. Every document that lies in the store carries
``version``; a reader refuses a version that it doesn't know.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Literal

Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed", "crashed", "timeout"]
"""What became of a test. ``crashed`` killed its process; ``timeout`` ran when its batch's limit ran out."""

FAILING: frozenset[Outcome] = frozenset({"failed", "error", "crashed", "timeout"})

Verdict = Literal["complete", "partial", "conflicting", "unverified"]
Executor = Literal["process", "docker"]
Compression = Literal["zstd", "none"]
ShardState = Literal["starting", "running", "waiting", "finished", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Checkout:
    """The application's source tree and what names it.

    ``commit`` is the head commit, ``<head>-<hash>`` for a tree with uncommitted changes, or a hash of the
    content without git. ``files`` are the paths (relative, ``/`` between parts, sorted) that belong to the
    project: those that git tracks, and untracked ones that it doesn't ignore.
    """

    root: str
    commit: str
    branch: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GitState:
    """What git says of a checkout's head, and of how the tree differs from it. Commits are hex digits.

    ``published``: a branch that was fetched contains the head, so it isn't a merge made here. ``change_tip``
    is the fetched branch of the change, empty without one; ``on_target`` are the parents that the fetched
    target contains. ``changed`` are tracked files; ``untracked`` those that git neither tracks nor ignores.
    """

    head: str
    parents: tuple[str, ...]
    published: bool
    change_tip: str
    on_target: tuple[str, ...]
    changed: tuple[str, ...]
    untracked: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ImageRef:
    """A Docker image: ``reference`` is what the engine runs, ``digest`` its content's identity."""

    reference: str
    digest: str
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Environment:
    """What the application's interpreter said of itself."""

    python: str
    pytest: str  # empty: not installed, and not needed for command groups
    coverage: str
    platform: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """How coverage is measured in every worker of the build."""

    branch: bool
    contexts: bool
    core: str  # that was really used: coverage.py's "sysmon", "ctrace", "pytrace", or covfleet's "monitor"


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the project as it was when the build was planned."""

    path: str  # relative to the project, "/" between parts
    sha256: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The unit of work that a shard takes: tests for pytest, or one command."""

    id: str
    tests: tuple[str, ...]  # pytest node ids; for a command its one id, "group::<name>"
    expected_s: float
    command: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()  # test files without a test to run, which a serial run imports as well


@dataclass(frozen=True, slots=True)
class Plan:
    """What a build will run, and who starts with what.

    ``batches`` are ordered by expected duration, longest first; ``deals[k - 1]`` holds the batch ids of
    shard k in the order in which it works through them.
    """

    commit: str
    build: str
    branch: str
    created_at: str  # ISO 8601, UTC
    executor: Executor
    image: str  # empty for processes
    environment: Environment
    measurement: Measurement
    pytest_args: tuple[str, ...]
    sources: tuple[SourceFile, ...]
    batches: tuple[Batch, ...]
    deals: tuple[tuple[str, ...], ...]
    import_all: bool = False  # every worker imports every test file
    version: Literal[1] = 1

    @property
    def shards(self) -> int:
        """How many shards the batches were dealt to."""
        return len(self.deals)

    @property
    def tests(self) -> tuple[str, ...]:
        """Every planned test id, in the order of the batches."""
        return tuple(test for batch in self.batches for test in batch.tests)


@dataclass(frozen=True, slots=True)
class Claim:
    """Which shard has a batch. ``token`` names one attempt at a shard, so that a restart isn't its ghost."""

    batch: str
    shard: int
    token: str
    takes_over: str = ""  # the token that lost the lease


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A shard's sign of life and progress; ``beat`` grows with every write while the shard lives."""

    shard: int
    token: str
    beat: int
    state: ShardState
    batches_done: int = 0
    tests_done: int = 0
    tests_failed: int = 0
    busy_s: float = 0.0
    current: str = ""  # the test that runs now
    detail: str = ""  # why it stopped or failed


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """What became of one test; ``output`` only for those that didn't pass.

    ``uncertain`` says how the test switched measuring off: what it ran after that may be missing in the data.
    """

    __test__ = False  # not a test class, whatever pytest thinks of its name

    id: str
    outcome: Outcome
    duration_s: float
    message: str = ""
    output: str = ""
    uncertain: str = ""


def file_of_test(test: str) -> str:
    """Return the file of a test id: what stands before the first ``::``."""
    return test.partition("::")[0]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A coverage data file in the commit's folder. Size and hash are its own, however it is stored.

    ``checked``: whoever hashed these bytes had found every page and row in them sound.
    """

    name: str
    size_bytes: int
    sha256: str
    compression: Compression = "none"
    stored_bytes: int = 0  # size of the object, if it is compressed
    checked: bool = False

    @property
    def object_bytes(self) -> int:
        """The size of what lies in the store."""
        return self.size_bytes if self.compression == "none" else self.stored_bytes


@dataclass(frozen=True, slots=True)
class CoresCompared:
    """What coverage.py's C tracer and covfleet's own core saw of the same batches, run again for this."""

    batches: int = 0
    pairs: int = 0  # of a line and a context
    unstable: int = 0  # pairs on which the runs of one core disagree
    missed: int = 0  # that our own core never saw, and the C tracer always
    only_ours: int = 0  # the reverse
    failing: int = 0  # tests that fail under our own core only
    differences: tuple[str, ...] = ()  # the first of these three, as a reader would look them up
    failures: tuple[str, ...] = ()  # batches that couldn't be compared, and why


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Everything that a batch gave; written once, after its data files are in the store."""

    commit: str
    build: str
    batch: str
    shard: int
    token: str
    duration_s: float
    core: str
    outcomes: tuple[TestOutcome, ...]
    data_files: tuple[DataFile, ...]
    notes: tuple[str, ...] = ()  # what deserves a human's eye: deaths, restarts, warnings of coverage.py
    root: str = ""  # the project's folder as the workers saw it; absolute paths below it are its own
    cores: CoresCompared | None = None  # if this batch was one to compare them on
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the data, by name."""

    kind: Literal["missing", "unexpected", "corrupt", "conflict", "foreign"]
    subject: str  # a test id, batch, data file or key
    detail: str


@dataclass(frozen=True, slots=True)
class ShardShare:
    """What a shard contributed, for the balance."""

    shard: int
    batches: int
    tests: int
    busy_s: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was planned, acknowledged and received, and the verdict on it."""

    commit: str
    build: str
    branch: str
    verdict: Verdict
    tests_planned: int
    outcomes: dict[Outcome, int] = field(default_factory=dict)
    failures: tuple[str, ...] = ()  # ids of the tests that failed, in order
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    data_files: tuple[DataFile, ...] = ()
    shares: tuple[ShardShare, ...] = ()
    combined: DataFile | None = None
    outside: tuple[str, ...] = ()  # measured paths that are not the project's own: left out of the result
    cores: CoresCompared | None = None  # on all batches on which they were compared
    uncertain: tuple[str, ...] = ()  # ids of tests that switched measuring off, in order
    version: Literal[1] = 1

    @property
    def tests_run(self) -> int:
        """How many tests have an outcome."""
        return sum(self.outcomes.values())

    @property
    def test_time_s(self) -> float:
        """The time that all shards spent on batches, added up."""
        return sum(share.busy_s for share in self.shares)

    @property
    def balance(self) -> float:
        """The busiest shard's time against the mean: 1.0 is perfect; 0.0 when nothing ran."""
        mean = self.test_time_s / len(self.shares) if self.shares else 0.0
        return max(share.busy_s for share in self.shares) / mean if mean else 0.0


@dataclass(frozen=True, slots=True)
class Totals:
    """What the whole project's coverage adds up to, as coverage.py counts it."""

    files: int
    statements: int
    covered_statements: int
    branches: int = 0
    covered_branches: int = 0
    measures_branches: bool = False

    @property
    def total(self) -> Fraction:
        """Statements and branches together, 0 to 1, exactly; 1 for an empty project, as in coverage.py."""
        return _share(self.covered_statements + self.covered_branches, self.statements + self.branches)

    @property
    def line(self) -> Fraction:
        """Executed statements, 0 to 1, exactly."""
        return _share(self.covered_statements, self.statements)

    @property
    def branch(self) -> Fraction:
        """Taken branches, 0 to 1, exactly."""
        return _share(self.covered_branches, self.branches)


def _share(part: int, whole: int) -> Fraction:
    return Fraction(part, whole) if whole else Fraction(1)


def floor_percent(share: Fraction, digits: int = 2) -> Decimal:
    """Return a share (0 to 1) in percent with ``digits`` decimals, rounded down.

    So 100 is shown for what is complete only, and no figure looks as if it reached a threshold it missed.
    """
    scaled = share * 100 * 10**digits
    return Decimal(f"{scaled.numerator // scaled.denominator}e-{digits}")


@dataclass(frozen=True, slots=True)
class ReportFile:
    """A file of a build's reports; ``path`` is relative to them, with ``/`` between parts."""

    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class ReportManifest:
    """What the reports of a build say in figures, which data they were made from, and every file of them.

    It is written after all its files. ``created_at`` is the plan's; without a plan, the time when
    the data was combined.
    """

    commit: str
    build: str
    branch: str
    created_at: str  # ISO 8601, UTC
    verdict: Verdict
    totals: Totals
    data_sha256: str  # of the combined data file
    files: tuple[ReportFile, ...]
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class GateRule:
    """One threshold: ``wanted`` and ``actual`` in percent, ``actual`` never rounded up to ``wanted``."""

    name: str  # "total", "line" or "branch"
    wanted: Decimal
    actual: Decimal
    passed: bool
