"""What workflow code must not do with an event loop, and how it is told."""

from __future__ import annotations

import asyncio
import asyncio.tasks
from typing import TYPE_CHECKING, Any

from symphony.errors import WorkflowEffect

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def refuse_effects(loop_class: type[asyncio.AbstractEventLoop]) -> None:
    """Make every public method that the class does not define itself refuse, by its name."""
    for name, method in vars(asyncio.AbstractEventLoop).items():
        if callable(method) and not name.startswith("_") and name not in vars(loop_class):
            setattr(loop_class, name, _refusing(name))


def _refusing(name: str) -> Callable[..., Any]:
    def refuse(_loop: object, *_args: Any, **_kwargs: Any) -> Any:
        raise WorkflowEffect(
            f"workflow code used the event loop's {name}(): I/O, threads and processes belong into steps",
            hint="move it into a function marked @symphony.step",
        )

    refuse.__name__ = name
    return refuse


def from_as_completed(frame: FrameType | None) -> bool:
    """Whether asyncio.as_completed called: it makes a set of coroutines, which iterates by address."""
    for _ in range(5):
        if frame is None:
            return False
        code = frame.f_code
        if code.co_filename == asyncio.tasks.__file__ and code.co_qualname.startswith(
            ("as_completed", "_AsCompletedIterator")
        ):
            return True
        frame = frame.f_back
    return False
