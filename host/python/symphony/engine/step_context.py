"""What a step may know about itself while it runs: ``symphony.current()`` and ``symphony.progress()``.

Carried by a context variable, so that it follows a step into its own tasks and into its thread, and is
never visible to workflow code.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field

from symphony.errors import WorkflowError

Report = Callable[[float, float, str], None]


@dataclass(frozen=True)
class StepContext:
    """The step that is running.

    ``run`` is the run's id, ``name`` the step's name, ``attempt`` counts from 1, ``cwd`` is the folder in
    which the run was asked for (the interpreter's own is another). ``key`` is the same in every attempt and
    after every death, and different for every call of a step: give it to outside services as idempotency key.
    """

    run: str
    key: str
    name: str
    attempt: int
    cwd: str
    _report: Report = field(repr=False, compare=False)


current_step: ContextVar[StepContext | None] = ContextVar("symphony_step", default=None)


def current() -> StepContext:
    """The step that is running.

    Raises
    ------
    WorkflowError
        Called outside a step.

    Example
    -------
    >>> @symphony.step
    ... def charge(amount: int) -> str:
    ...     return pay(amount, idempotency_key=symphony.current().key)
    """
    context = current_step.get()
    if context is None:
        raise WorkflowError(
            "symphony.current() is only known inside a step",
            hint="call it from a function marked @symphony.step",
        )
    return context


def progress(done: float, total: float = 0, message: str = "") -> None:
    """Tell whoever watches the run how far this step is. Cheap: the latest of each 5 ms is sent.

    Parameters
    ----------
    done, total:
        In any unit; a total of 0 means that it is not known.
    message:
        One line for a person.

    Raises
    ------
    WorkflowError
        Called outside a step.

    Example
    -------
    >>> for n, page in enumerate(pages, 1):
    ...     read(page)
    ...     symphony.progress(n, len(pages), page.title)
    """
    current()._report(done, total, message)
