"""The host's requests ``models.*``: what a person or another program asks of the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from symphony.values import json_value

if TYPE_CHECKING:
    from symphony.artifact_requests import Requests
    from symphony.engine.models import ModelPool


class ModelRequests:
    """The requests about the models of an engine."""

    def __init__(self, models: ModelPool) -> None:
        self._models = models

    def methods(self) -> Requests:
        """The requests by their names."""
        return {
            "models.list": self._list,
            "models.load": self._load,
            "models.unload": self._unload,
            "models.prewarm": self._prewarm,
        }

    async def _list(self) -> Any:
        return json_value(self._models.rows(), "models")

    async def _load(self, model: str) -> Any:
        return json_value(await self._models.load(model), model)

    async def _unload(self, model: str) -> Any:
        return json_value(await self._models.unload(model), model)

    async def _prewarm(self, model: str) -> Any:
        started = self._models.prewarm(model)
        return {**json_value(self._models.row(model), model), "started": started}
