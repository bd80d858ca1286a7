"""One tree of errors; each class carries the exit code that the command ends with.

A message says what happened, to which object, and what to do next.
"""

from __future__ import annotations


class PipelineError(Exception):
    """An error that is reported to the user without a traceback.

    Attributes:
        exit_code: the status that the command ends with.
        hint: what to do next, shown on a line of its own; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class ConfigurationError(PipelineError):
    """Usage or configuration is wrong; nothing was started."""

    exit_code = 2


class TestsFailedError(PipelineError):
    """The data is complete, but some tests failed."""

    exit_code = 3
    __test__ = False  # not a test class, whatever pytest thinks of its name


class BelowGateError(PipelineError):
    """The coverage is below a threshold."""

    exit_code = 4


class IncompleteDataError(PipelineError):
    """Data is missing, corrupt, foreign or contradictory; no figure may be shown."""

    exit_code = 5


class ServiceError(PipelineError):
    """Docker, S3 or another service could not do its part."""

    exit_code = 6


class EngineError(ServiceError):
    """The Docker engine is absent or refused."""


class JenkinsError(ServiceError):
    """The Jenkins controller refused, or answered nonsense."""


class JenkinsUnavailableError(JenkinsError):
    """The controller didn't answer, or not wholly: it may once it is back. A request may have arrived."""


class JenkinsNotFoundError(JenkinsError):
    """The controller has no such job, view, build or queue item."""


class StoreError(ServiceError):
    """The object store failed after all retries."""


class ObjectNotFoundError(StoreError):
    """The store holds no object of that key."""


class PreconditionFailedError(StoreError):
    """A conditional put found the object in another state than the caller expected."""


class WorkerError(PipelineError):
    """The worker process could not be started or spoke out of turn."""


class WorkerKilledError(WorkerError):
    """A signal ended the worker process while it started."""


class InterruptedRunError(PipelineError):
    """SIGINT or SIGTERM stopped the run; what was acknowledged is kept."""

    exit_code = 130
