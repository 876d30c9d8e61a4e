"""The Conductor's policy: in which order ready steps start.

A first, honest one: it keeps the order in which steps became ready and only draws together those that lease
the same model, so that a model is not cooled for another and warmed again. It must not wait or do I/O.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from symphony.scheduling import ReadyStep, Resources


class ModelsTogether:
    """Ready order, the steps of one model next to each other; the model that was used last goes on first."""

    def __init__(self) -> None:
        self._hot: str | None = None

    def observe(self, step: ReadyStep, seconds: float, ok: bool) -> None:
        """Remember which model was leased last: it is loaded."""
        if step.model is not None:
            self._hot = step.model

    def order(self, ready: Sequence[ReadyStep], free: Resources) -> Sequence[ReadyStep]:
        """The steps in the order to start them.

        Parameters
        ----------
        ready:
            In the order they became ready.
        free:
            Slots that are free now; not needed for this decision.
        """
        place: dict[str, int] = {}
        for number, step in enumerate(ready):
            if step.model is not None:
                place.setdefault(step.model, number)
        if self._hot in place:
            place[self._hot] = min(place.values())
        ranks = [
            (number, 0) if step.model is None else (place[step.model], int(step.model != self._hot))
            for number, step in enumerate(ready)
        ]
        return [ready[number] for number in sorted(range(len(ready)), key=ranks.__getitem__)]
