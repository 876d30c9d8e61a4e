"""What Python code writes to stdout and stderr: each line with the step that wrote it, where one did.

What is written to the descriptors themselves is the interpreter's as a whole.
"""

from __future__ import annotations

import io
import os

from symphony.engine.step_context import current_step
from symphony.values.secret import redact


class StepOutput(io.TextIOWrapper):
    """Text whose lines begin with their step's run and key. It is written at once: a crash leaves no time.

    Parameters
    ----------
    descriptor:
        Where it is written; stays open when this is closed.

    Example
    -------
    >>> sys.stdout = StepOutput(1)
    >>> print("seen")  # by a step
    01m8b7zcgw0a1fjx328zz8vy11/look#0: seen
    """

    def __init__(self, descriptor: int) -> None:
        raw = os.fdopen(os.dup(descriptor), "wb", buffering=0)
        super().__init__(io.BufferedWriter(raw), "utf-8", "backslashreplace", write_through=True)
        self._writer = ""
        self._begins = True

    def write(self, text: str) -> int:
        size = len(text)
        if not size:
            return 0
        context = current_step.get()
        writer = "" if context is None else f"{context.key}: "
        goes_on = not self._begins and writer == self._writer
        text = redact(text)  # before a value of several lines is taken apart
        lines, end = (text[:-1], "\n") if text.endswith("\n") else (text, "")
        shown = ("" if goes_on else writer) + lines.replace("\n", f"\n{writer}") + end
        if not (goes_on or self._begins):
            shown = f"\n{shown}"  # another one's line is not ended yet
        self._writer, self._begins = writer, bool(end)
        super().write(shown)
        self.flush()
        return size
