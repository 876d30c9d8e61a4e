"""The one error tree of Symphony, seen by workflow authors, plugin authors and the command line.

Every error carries its exit code and, where one is known, a hint: what the user should type next.
Nothing here imports the native module, so that the command line stays quick.
"""

from __future__ import annotations

from typing import ClassVar


class SymphonyError(Exception):
    """Base of every error that Symphony raises on purpose; most are also of the builtin class one expects.

    Parameters
    ----------
    message:
        What went wrong and where, in one sentence.
    hint:
        What the user can do about it, or an empty string.

    Example
    -------
    >>> NotFound("no workflow 'x'", hint="symphony workflows list").exit_code
    3
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class InvalidInput(SymphonyError, ValueError):
    """An argument, option or workflow input is missing, unknown or of the wrong type."""

    exit_code = 2


class ConversionError(InvalidInput, TypeError):
    """A value cannot cross the bridge, or is not what its type hint says; the message names the path."""


class NotFound(SymphonyError, LookupError):
    """No workflow, run, plugin, component or method has this name."""

    exit_code = 3


class TypeMissing(NotFound):
    """A recorded value is of a type whose codec only a plugin has, which is not loaded."""


class PluginBroken(SymphonyError, RuntimeError):
    """A plugin raised, exited, crashed or hung."""

    exit_code = 4


class InterpreterDied(SymphonyError, RuntimeError):
    """The managed interpreter died again and again; the run is kept and can be resumed."""

    exit_code = 4


class Quarantined(SymphonyError, RuntimeError):
    """A step, or the workflow itself, ended the interpreter three times: its run has failed."""

    exit_code = 4


class Incompatible(SymphonyError, RuntimeError):
    """A plugin or component was built for another API, ABI, host or Python."""

    exit_code = 5


class Conflict(SymphonyError, RuntimeError):
    """Another host, environment or plugin holds what is asked for."""

    exit_code = 6


class IndexUnreachable(SymphonyError, ConnectionError):
    """The package index did not answer."""

    exit_code = 7


class Refused(SymphonyError, PermissionError):
    """Refused by policy or by the environment."""

    exit_code = 8


class HostUnavailable(SymphonyError, ConnectionError):
    """No host could be started: the home is full, read-only or foreign, or the interpreter does not start."""

    exit_code = 9


class WorkflowError(SymphonyError, RuntimeError):
    """Base of what goes wrong inside a run."""


class StepFailed(WorkflowError):
    """A step raised an exception that cannot be rebuilt from its record.

    ``type`` is the class name of the original exception, ``traceback`` its text.
    """

    def __init__(self, message: str = "", *, type: str = "", traceback: str = "") -> None:
        super().__init__(message)
        self.type = type
        self.traceback = traceback


class PluginFailed(WorkflowError):
    """Not the step failed but what a plugin put around it: its executor or its middleware."""


class ProcessDied(WorkflowError):
    """The process that executed a step ended before the step did."""


class UpstreamFailed(WorkflowError):
    """A step was not started, because a handle among its arguments failed or was cancelled."""


class WorkflowChanged(WorkflowError):
    """The workflow's code no longer makes the calls that were recorded."""


class WorkflowEffect(WorkflowError):
    """Workflow code did what only a step may do: I/O, threads, Pit calls."""


class RunCancelled(WorkflowError):
    """The run was cancelled by a command."""


class PitError(SymphonyError):
    """Base of errors that come out of a Pit component."""


class PitNotFound(PitError, LookupError):
    """The component knows no item of this name."""

    exit_code = 3


class PitInvalidArgument(PitError, ValueError):
    """An argument has a wrong type or value."""

    exit_code = 2


class PitWrongType(PitInvalidArgument, ConversionError):
    """An argument is of another type than the method takes; the message names its place and both types."""

    exit_code = 2


class PitExhausted(PitError, RuntimeError):
    """A limit of the component is reached."""


class PitConflict(PitError, RuntimeError):
    """The item is in a state that does not allow this."""


class PitWouldBlock(PitError, RuntimeError):
    """A blocking method was called where an asyncio loop runs; the message names its async twin."""


class PitTimeout(PitError, TimeoutError):
    """The component gave up waiting."""


class PitCancelled(PitError, RuntimeError):
    """The operation was cancelled."""


class PitIO(PitError, OSError):
    """The component could not read or write."""


class PitCorrupt(PitError, ValueError):
    """Stored data is damaged; the message names file and offset."""


class PitPanic(PitError, RuntimeError):
    """A component panicked; the process lives."""


class PitUnavailable(PitError, RuntimeError):
    """The Pit of this home is held by another process, or a component library is no such thing."""

    exit_code = 6
