"""One tree of errors; each class carries the command's exit code.

A message says what happened and to which object; a hint says what to do next.
"""

from __future__ import annotations


class PipelineError(Exception):
    """An error that the command reports without a traceback.

    Attributes:
        exit_code: the command's exit code.
        hint: what to do next, shown on its own line; may be empty.
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
    __test__ = False  # its name makes pytest take it for a test class


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
    """The Docker engine is unavailable or refused a request."""


class JenkinsError(ServiceError):
    """The Jenkins controller refused a request or sent an invalid answer."""


class JenkinsUnavailableError(JenkinsError):
    """The controller gave no answer, or an incomplete one; the request may have arrived, a retry may work."""


class JenkinsNotFoundError(JenkinsError):
    """The controller has no such job, view, build or queue item."""


class StoreError(ServiceError):
    """The object store failed after all retries."""


class ObjectNotFoundError(StoreError):
    """The store has no object with that key."""


class PreconditionFailedError(StoreError):
    """A conditional put found the object in a different state than expected."""


class WorkerError(PipelineError):
    """The worker process couldn't be started or broke the protocol."""


class WorkerKilledError(WorkerError):
    """A signal killed the worker process during its start."""


class InterruptedRunError(PipelineError):
    """A signal stopped the run; acknowledged results are kept."""

    exit_code = 130
