"""The order in which ready steps start: what a Conductor sees, and what happens when it fails.

Decides nothing itself: without a policy, steps start in the order they became ready.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

DECISION_LIMIT: Final = 0.050
"""A policy that takes longer (seconds) is bypassed for that decision."""


@dataclass(frozen=True, slots=True)
class ReadyStep:
    """A step whose arguments are all known and that waits for a slot.

    ``kind`` is the executor's name ("async", "thread", …) and says which slots it needs, ``ready`` is the
    time it became ready (seconds since the epoch), ``deps`` the keys of the steps whose results it takes.
    """

    run: str
    workflow: str
    key: str
    name: str
    kind: str
    model: str | None
    attempt: int
    ready: float
    deps: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Resources:
    """Slots that are free now; ``further`` of executors beside the event loop and threads, by their names."""

    asynchronous: int
    threads: int
    further: Mapping[str, int] = field(default_factory=dict)


class Policy(Protocol):
    """A Conductor's decision. It must not wait, do I/O or keep the sequences it is given.

    A policy that also has ``observe(step: ReadyStep, seconds: float, ok: bool)`` is told each outcome.
    """

    def order(self, ready: Sequence[ReadyStep], free: Resources) -> Sequence[ReadyStep]: ...


def decide(
    policy: Policy, ready: Sequence[ReadyStep], free: Resources, report: Callable[[str], None]
) -> Sequence[ReadyStep]:
    """The policy's order, or the given one when the policy raises, is too slow, or answers nonsense."""
    name = type(policy).__name__
    began = time.perf_counter()
    try:
        answer = list(policy.order(tuple(ready), free))
    except Exception as error:  # a plugin's code: whatever it raises must not stop the runs
        report(f"scheduling policy {name} raised {type(error).__name__}: {error}; bypassed for this decision")
        return ready
    took = time.perf_counter() - began
    if took > DECISION_LIMIT:
        report(f"scheduling policy {name} took {took * 1000:.0f} ms; bypassed for this decision")
        return ready
    known = dict.fromkeys(ready)
    chosen = dict.fromkeys(step for step in answer if isinstance(step, ReadyStep))
    if len(chosen) != len(answer) or any(step not in known for step in chosen):
        report(f"scheduling policy {name} returned steps that are not ready; bypassed for this decision")
        return ready
    return [*chosen, *(step for step in ready if step not in chosen)]
