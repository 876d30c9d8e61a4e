"""The Conductor's policy: in which order ready steps start.

A first, honest one: it keeps the order in which steps became ready and only draws together those that lease
the same model, so that a model is not cooled for another and warmed again. It must not wait or do I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from symphony.scheduling import ReadyStep, Resources


class ModelsTogether:
    """Ready order, with the steps of one model next to each other; the model used last goes on first."""

    def __init__(self) -> None:
        self._last: str | None = None

    def order(self, ready: Sequence[ReadyStep], free: Resources) -> Sequence[ReadyStep]:
        """The steps in the order to start them.

        Parameters
        ----------
        ready:
            In the order they became ready.
        free:
            Slots that are free now; not needed for this decision.
        """
        first: dict[str, int] = {}
        for place, step in enumerate(ready):
            if step.model is not None:
                first.setdefault(step.model, place)
        if self._last in first:
            first[self._last] = min(first.values())
        places = [place if step.model is None else first[step.model] for place, step in enumerate(ready)]
        # Stable: by the place of the group, the model used last before another of that place.
        chosen = sorted(range(len(ready)), key=lambda n: (places[n], ready[n].model != self._last))
        for number in chosen:
            if ready[number].model is not None:
                self._last = ready[number].model
        return [ready[number] for number in chosen]
