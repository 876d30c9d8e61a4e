"""Path types for workflow inputs that must exist before a run is recorded."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated


@dataclass(frozen=True)
class MustExist:
    """The mark that ``DirectoryPath`` and ``FilePath`` carry; ``kind`` is "directory" or "file"."""

    name: str
    kind: str

    def problem(self, path: Path) -> str | None:
        """What is wrong with this path, or None."""
        if not path.exists():
            return f"there is no {self.kind} {path}"
        if self.kind == "directory" and not path.is_dir():
            return f"{path} is not a directory"
        if self.kind == "file" and not path.is_file():
            return f"{path} is not a file"
        return None


DirectoryPath = Annotated[Path, MustExist("DirectoryPath", "directory")]
"""A ``Path`` input that must be an existing directory when the run starts."""

FilePath = Annotated[Path, MustExist("FilePath", "file")]
"""A ``Path`` input that must be an existing file when the run starts."""
