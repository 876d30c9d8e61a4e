"""The model provider of WordLlama: 256-dimension static embeddings whose weights lie in the wheel.

``wordllama`` is imported only when the Pool wants the model, in a thread; nothing is ever downloaded.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
from pathlib import Path
from typing import Any

NAME = "wordllama"
# 32,000 x 256 float32 weights, the tokenizer's tables, and room for a batch.
MEMORY = 96 * 1024 * 1024


class WordLlamaProvider:
    """Loads, drops and checks the model for the Pool Manager."""

    async def load(self) -> Any:
        """Load the model off the loop.

        Raises
        ------
        ImportError
            ``wordllama`` is not installed.
        FileNotFoundError
            Its installation lacks the weights.
        """
        return await asyncio.to_thread(load_wordllama)

    async def unload(self, model: Any) -> None:
        """Nothing to close: the weights go with the last reference."""

    async def health(self, model: Any) -> bool:
        """Whether the model still gives a vector."""
        vectors = await asyncio.to_thread(model.embed, ["are you well"])
        return bool(vectors.shape[0] == 1 and vectors.any())


def load_wordllama() -> Any:
    """Load the model from the installed package alone.

    Example
    -------
    >>> load_wordllama().embed(["a text"]).shape
    (1, 256)
    """
    spec = importlib.util.find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ImportError("the Conductor needs the package 'wordllama': pip install wordllama")
    # Its import calls logging.basicConfig, which would turn on every library's messages in this process.
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    from wordllama import WordLlama

    root.handlers[:] = handlers
    root.setLevel(level)
    return WordLlama.load(cache_dir=Path(spec.origin).parent, disable_download=True)
