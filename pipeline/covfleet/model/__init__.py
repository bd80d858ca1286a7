"""The values that stages exchange: frozen, validated, and stored as JSON.

Durations are seconds, sizes are bytes, percentages 0 to 100. Every stored document carries a ``version``; a
reader refuses an unknown version.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from covfleet.model.environment import Environment as Environment
from covfleet.model.scope import Observed, Scope

Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed", "crashed", "timeout"]
"""The outcome of a test. ``crashed``: it killed its process; ``timeout``: its batch's time limit expired."""

FAILING: frozenset[Outcome] = frozenset({"failed", "error", "crashed", "timeout"})

Verdict = Literal["complete", "partial", "conflicting", "unverified"]
Executor = Literal["process", "docker"]
Compression = Literal["zstd", "none"]
ShardState = Literal["starting", "running", "waiting", "finished", "stopped", "failed"]


@dataclass(frozen=True, slots=True)
class Checkout:
    """The application's source tree and its name.

    ``commit`` is the head commit, ``<head>-<hash>`` for a tree with uncommitted changes, or a hash of the
    content without git. ``files`` are the project's paths (relative, ``/`` between parts, sorted): those that
    git tracks, and untracked ones that it doesn't ignore.
    """

    root: str
    commit: str
    branch: str
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GitState:
    """Git's description of a checkout's head and of the tree's differences from it. Commits are hex digits.

    ``published``: a fetched branch contains the head, so it isn't a local merge. ``change_tip`` is the tip of
    the change's fetched branch, empty without one; ``on_target`` are the head's parents that the fetched
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
    """A Docker image: the engine runs ``reference``; ``digest`` identifies its content."""

    reference: str
    digest: str
    reused: bool = False


@dataclass(frozen=True, slots=True)
class Measurement:
    """How coverage is measured in every worker of the build."""

    branch: bool
    contexts: bool
    core: str  # the one in use: coverage.py's "sysmon", "ctrace" or "pytrace", or covfleet's "monitor"


@dataclass(frozen=True, slots=True)
class CoverageConfiguration:
    """coverage.py's settings as they count for a build, whoever measures, combines or reports.

    Texts are JSON objects: coverage.py's name of an option -> value.
    """

    text: str  # what every worker measures with
    sha256: str  # of ``text``
    from_file: str = ""  # what stands in the project's own file alone; empty: there is none
    file: str = ""  # that file, relative to the project unless it lies outside
    reported: str = ""  # after coverage.py's plugins have configured it; empty: as ``text``
    fail_under_from: str = ""  # where the project's own threshold stands; empty: it has none
    no_cov_on_fail: bool = False  # failing tests lift that threshold, as pytest-cov has it
    notes: tuple[str, ...] = ()  # what was asked for and is otherwise here

    @property
    def for_reports(self) -> str:
        """What data is combined, reported and judged with."""
        return self.reported or self.text


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file of the project as of the plan."""

    path: str  # relative to the project, "/" between parts
    sha256: str


@dataclass(frozen=True, slots=True)
class Batch:
    """The unit of work of a shard: tests for pytest, or one command."""

    id: str
    tests: tuple[str, ...]  # pytest node ids; for a command its only id, "group::<name>"
    expected_s: float
    command: tuple[str, ...] = ()
    imports: tuple[str, ...] = ()  # test files without a test to run, which a serial run would import, too


@dataclass(frozen=True, slots=True)
class Plan:
    """The batches of a build and how they are dealt to shards.

    ``batches`` are ordered by expected duration, longest first; ``deals[k - 1]`` contains the batch ids of
    shard k in the order in which it runs them.
    """

    commit: str
    build: str
    branch: str
    created_at: str  # ISO 8601, UTC
    executor: Executor
    image: str  # empty for plain processes
    environment: Environment
    measurement: Measurement
    pytest_args: tuple[str, ...]
    sources: tuple[SourceFile, ...]
    batches: tuple[Batch, ...]
    deals: tuple[tuple[str, ...], ...]
    import_all: bool = False  # every worker imports every test file
    scope: Scope = field(default_factory=Scope)
    coverage: CoverageConfiguration | None = None  # None in version 1: each reads the project's file itself
    left_out: tuple[TestOutcome, ...] = ()  # files that no worker may import, and what became of each
    version: Literal[1, 2] = 2

    @property
    def shards(self) -> int:
        """The number of shards that the batches are dealt to."""
        return len(self.deals)

    @property
    def tests(self) -> tuple[str, ...]:
        """Every planned test id, in the order of the batches."""
        return tuple(test for batch in self.batches for test in batch.tests)


@dataclass(frozen=True, slots=True)
class Claim:
    """A shard's claim on a batch. ``token`` identifies one run of a shard and so tells restarts apart."""

    batch: str
    shard: int
    token: str
    takes_over: str = ""  # the token that lost the lease


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """A shard's heartbeat and progress; ``beat`` grows with every write while the shard is alive."""

    shard: int
    token: str
    beat: int
    state: ShardState
    batches_done: int = 0
    tests_done: int = 0
    tests_failed: int = 0
    busy_s: float = 0.0
    current: str = ""  # the running test
    detail: str = ""  # why the shard stopped or failed


@dataclass(frozen=True, slots=True)
class TestOutcome:
    """The outcome of one test; ``output`` only if it didn't pass.

    ``uncertain`` says how the test switched measuring off: lines that it ran after that may be missing.
    """

    __test__ = False  # its name makes pytest take it for a test class

    id: str
    outcome: Outcome
    duration_s: float
    message: str = ""
    output: str = ""
    uncertain: str = ""


def file_of_test(test: str) -> str:
    """Return the file of a test id: the part before the first ``::``."""
    return test.partition("::")[0]


@dataclass(frozen=True, slots=True)
class DataFile:
    """A coverage data file in the commit's folder. Size and hash are those of the uncompressed file.

    ``checked``: every page and row was found sound in the same bytes that were hashed.
    """

    name: str
    size_bytes: int
    sha256: str
    compression: Compression = "none"
    stored_bytes: int = 0  # size of the object, if it is compressed
    checked: bool = False

    @property
    def object_bytes(self) -> int:
        """The size of the stored object."""
        return self.size_bytes if self.compression == "none" else self.stored_bytes


@dataclass(frozen=True, slots=True)
class CoresCompared:
    """A comparison of coverage.py's C tracer and covfleet's own core on the same batches, run again."""

    batches: int = 0
    pairs: int = 0  # of a line and a context
    unstable: int = 0  # pairs on which the runs of one core disagree
    missed: int = 0  # pairs that the C tracer always saw and our own core never
    only_ours: int = 0  # the reverse
    failing: int = 0  # tests that fail only under our own core
    differences: tuple[str, ...] = ()  # the first of the last three kinds, in readable form
    failures: tuple[str, ...] = ()  # batches that couldn't be compared, and why


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The outcomes and data files of a batch; written once, after its data files are in the store."""

    commit: str
    build: str
    batch: str
    shard: int
    token: str
    duration_s: float
    core: str
    outcomes: tuple[TestOutcome, ...]
    data_files: tuple[DataFile, ...]
    notes: tuple[str, ...] = ()  # for humans: crashes, restarts, coverage.py's warnings
    root: str = ""  # the project's folder as the workers saw it; absolute paths below it are the project's
    cores: CoresCompared | None = None  # if the cores were compared on this batch
    observed: Observed = field(default_factory=Observed)
    version: Literal[1] = 1


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in the data, and its subject."""

    kind: Literal["missing", "unexpected", "corrupt", "conflict", "foreign"]
    subject: str  # a test id, batch, data file or key
    detail: str


@dataclass(frozen=True, slots=True)
class ShardShare:
    """A shard's share of the work, for the balance."""

    shard: int
    batches: int
    tests: int
    busy_s: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """A comparison of what was planned, acknowledged and received, with a verdict."""

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
    outside: tuple[str, ...] = ()  # measured paths outside the project, left out of the result
    cores: CoresCompared | None = None  # over all batches on which the cores were compared
    uncertain: tuple[str, ...] = ()  # ids of tests that switched measuring off, in order
    version: Literal[1] = 1

    @property
    def tests_run(self) -> int:
        """The number of tests with an outcome."""
        return sum(self.outcomes.values())

    @property
    def test_time_s(self) -> float:
        """The total time that all shards spent on batches."""
        return sum(share.busy_s for share in self.shares)

    @property
    def balance(self) -> float:
        """The busiest shard's time relative to the mean: 1.0 is perfect; 0.0 if nothing ran."""
        mean = self.test_time_s / len(self.shares) if self.shares else 0.0
        return max(share.busy_s for share in self.shares) / mean if mean else 0.0


@dataclass(frozen=True, slots=True)
class Totals:
    """The coverage totals of the whole project, as coverage.py counts them."""

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

    So only full coverage shows as 100, and no figure seems to reach a threshold that it missed.
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
    """The figures, the data's hash and all files of a build's reports.

    It is written after all its files. ``created_at`` is the plan's; without a plan, the time when the data
    was combined.
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
    """One threshold: ``wanted`` and ``actual`` in percent; ``actual`` is never rounded up to ``wanted``."""

    name: str  # "total", "line", "branch", or where the project's own fail_under stands
    wanted: Decimal
    actual: Decimal  # for fail_under as coverage.py shows it
    passed: bool
