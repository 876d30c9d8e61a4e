"""What a run that is driven here waits for now: the part of ``symphony runs explain`` that no record has."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from symphony.engine.dispatcher import Dispatcher
    from symphony.engine.lane import Lane
    from symphony.engine.run import Run


def waits(run: Run, dispatcher: Dispatcher) -> dict[str, Any]:
    """Why the run as a whole does not go on, if that has a reason, and why each step that does not.

    Steps that are being executed, and those that wait for their next attempt, are left out: their records
    say so.
    """
    if not run.caught_up.done():
        return {"because": "its records are being replayed", "steps": []}
    steps = list(_steps(run, dispatcher))
    return {"because": _because(run), "steps": steps}


def _because(run: Run) -> str | None:
    if run.commands.paused:
        return f"it is paused: symphony runs unpause {run.id}"
    if any(call is not None for _, call in run.open_steps()):
        return None
    questions = [] if run.loop.questions is None else run.loop.questions.open
    if questions:
        first = questions[0]
        return f"it waits for a person, {first.prompt!r}: symphony runs input {run.id} {first.name}=VALUE"
    timer = run.loop.next_timer()
    if timer is not None and not run.calls.open:
        due = datetime.fromtimestamp(timer.due / 1e6, UTC).isoformat(timespec="milliseconds")
        return f"it sleeps until {due.replace('+00:00', 'Z')}"
    return None


def _steps(run: Run, dispatcher: Dispatcher) -> Iterator[dict[str, Any]]:
    places = {call: (lane, place) for lane in dispatcher.lanes for place, call in enumerate(lane.queue)}
    for handle, call in run.open_steps():
        open_deps = [dep.key for dep in handle.deps if not dep.done()]
        if open_deps:
            because: str | None = f"it waits for {', '.join(open_deps)}"
        elif run.commands.needs_person(handle.key):
            because = (
                "it was interrupted and may have had its effect: "
                f"symphony runs retry {run.id} {handle.key}, or skip"
            )
        elif call is None:
            because = "the run is paused" if run.commands.paused else "it is about to start"
        elif call.leasing is not None:
            because = f"it waits for a lease of {dispatcher.models.described(call.leasing, call.plugin)}"
        elif call in places:
            because = dispatcher.held or _slot(*places[call])
        else:
            because = None
        if because is not None:
            since = None if call is None or call.ready is None else int(call.ready.ready * 1e6)
            deps = [dep.key for dep in handle.deps]
            yield {
                "key": handle.key,
                "name": handle.name,
                "dependencies": deps,
                "because": because,
                "since": since,
            }


def _slot(lane: Lane, before: int) -> str:
    if lane.free > 0:
        return "it is about to start"
    slots = lane.registered.slots
    taken = "its only slot is" if slots == 1 else f"all its {slots} slots are"
    ahead = "" if not before else f", {before} steps are ahead" if before > 1 else ", 1 step is ahead"
    return f"it waits for executor {lane.name}: {taken} taken{ahead}"
