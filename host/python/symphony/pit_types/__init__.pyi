"""What the core components offer, for type checkers and editors: nothing to import at run time.

Written by `python -m symphony.pit_stubs`, from the loaded method tables.
"""

from symphony.pit_types.arbitration_engine import ArbitrationEngine as ArbitrationEngine
from symphony.pit_types.artifact_store import ArtifactStore as ArtifactStore
from symphony.pit_types.dag_tracker import DagTracker as DagTracker
from symphony.pit_types.pool_manager import PoolManager as PoolManager
from symphony.pit_types.stale_manager import StaleManager as StaleManager

class CorePit:
    """The core components as attributes."""

    @property
    def arbitration_engine(self) -> ArbitrationEngine: ...
    @property
    def artifact_store(self) -> ArtifactStore: ...
    @property
    def dag_tracker(self) -> DagTracker: ...
    @property
    def pool_manager(self) -> PoolManager: ...
    @property
    def stale_manager(self) -> StaleManager: ...
