"""The component symphony.artifact_store. Written by `symphony pit stubs`, from its method table."""

import builtins
from collections.abc import Coroutine
from typing import Any, Protocol

from _typeshed import ReadableBuffer

class ArtifactStore(Protocol):
    """Everything that runs produce, addressed by content."""
    def ping(self) -> None:
        """Do nothing: shows that the component answers."""
    def stats(self) -> dict[str, int]:
        """Counters: contents, names, bytes (of contents, each once), trashed, writers (open ones), cold
        (compressed contents) and saved (bytes that these do not take).
        """
    def put(
        self,
        content: ReadableBuffer,
        name: str = "",
        media_type: str = "",
        metadata: Any = None,
        step: str = "",
        tags: builtins.list[str] | None = None,
        inputs: builtins.list[str] | None = None,
        parent: int | None = None,
        message: str = "",
        author: str = "",
    ) -> str:
        """Store content, once; with a name, as the newest version of that name. Returns its id, the BLAKE3
        hash in hexadecimal.

        step is the key of the step that made it, inputs the ids of the artifacts that it was made from,
        parent the number of the version that it goes back to (None: the newest one). Content of 64 KiB
        or more is written to a file of its own: on an event loop, `put_async` does that on another
        thread.
        """
    def put_async(
        self,
        content: ReadableBuffer,
        name: str = "",
        media_type: str = "",
        metadata: Any = None,
        step: str = "",
        tags: builtins.list[str] | None = None,
        inputs: builtins.list[str] | None = None,
        parent: int | None = None,
        message: str = "",
        author: str = "",
    ) -> Coroutine[Any, Any, str]:
        """As put, on a thread that may block."""
    def open_writer(self) -> int:
        """Begin content that comes in parts; gives the number of the writer."""
    def write(self, writer: int, content: ReadableBuffer) -> int:
        """Add a part; gives the size so far."""
    def write_async(self, writer: int, content: ReadableBuffer) -> Coroutine[Any, Any, int]:
        """As write, on a thread that may block."""
    def commit_writer(
        self,
        writer: int,
        name: str = "",
        media_type: str = "",
        metadata: Any = None,
        step: str = "",
        tags: builtins.list[str] | None = None,
        inputs: builtins.list[str] | None = None,
        parent: int | None = None,
        message: str = "",
        author: str = "",
    ) -> str:
        """All parts have come: the content is stored as put does. Returns its id."""
    def commit_writer_async(
        self,
        writer: int,
        name: str = "",
        media_type: str = "",
        metadata: Any = None,
        step: str = "",
        tags: builtins.list[str] | None = None,
        inputs: builtins.list[str] | None = None,
        parent: int | None = None,
        message: str = "",
        author: str = "",
    ) -> Coroutine[Any, Any, str]:
        """As `commit_writer`, on a thread that may block."""
    def abort_writer(self, writer: int) -> None:
        """Give a writer and what it wrote up."""
    def get(self, id: str) -> bytes:
        """The content of an id, as a copy."""
    def read(self, id: str) -> memoryview:
        """The content of an id where it lies, without a copy; it stays readable while the memoryview is
        used, also after the artifact was deleted. That of cold content is decompressed and verified, in
        memory of its own.
        """
    def read_async(self, id: str) -> Coroutine[Any, Any, memoryview]:
        """As read, on a thread that may block: for large content that is cold."""
    def locate(self, id: str) -> dict[str, Any]:
        """Where the bytes of an id lie: path, offset, size there; cold says that they are an LZ4 frame. A
        pack may be rewritten when the trash is committed.
        """
    def find(self, name: str, version: int | None = None) -> str | None:
        """Id of the newest version of a name, or of the version with a number; None where there is none."""
    def versions(self, name: str) -> builtins.list[Any]:
        """All versions of a name, oldest first."""
    def info(self, id: str) -> Any:
        """What is known of an id: size, created (µs), accesses, `last_access` (µs), tags, metadata, mark,
        referenced, trashed, archived (a folder or None), cold (the bytes that it takes compressed, or
        None), and its named versions.
        """
    def list(self, prefix: str = "", tag: str = "", limit: int = 0, after: str = "") -> builtins.list[Any]:
        """The newest version of every name that begins with the prefix and, where a tag is given, has it;
        in the order of the names, from the one behind after. limit 0 = all.
        """
    def search(
        self,
        query: str = "",
        tags: builtins.list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        media_type: str = "",
        limit: int = 20,
    ) -> builtins.list[Any]:
        """Artifacts that match all words of the query in name, message, tags, metadata or text content (up
        to 256 KiB), best first, each with its score; a word that ends with * is the beginning of one.
        Without words: all, newest first. Tags, metadata (pairs that must be equal) and media type (or
        its beginning) narrow the result.
        """
    def search_async(
        self,
        query: str = "",
        tags: builtins.list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        media_type: str = "",
        limit: int = 20,
    ) -> Coroutine[Any, Any, builtins.list[Any]]:
        """As search, on a thread that may block."""
    def tag(self, id: str, tags: builtins.list[str]) -> None:
        """Add tags to an artifact."""
    def untag(self, id: str, tags: builtins.list[str]) -> None:
        """Take tags off an artifact."""
    def annotate(self, id: str, metadata: Any) -> None:
        """Set the metadata of an artifact itself, beside those of its versions."""
    def mark(self, id: str, value: float | None = None) -> None:
        """Say what an artifact is worth to you, from 0 (nothing) to 1 (never delete it); None takes the
        mark away.
        """
    def lineage(self, id: str, generations: int = 100) -> Any:
        """Which steps made an artifact, from what, and what was made from it: steps, inputs, consumers,
        and all ancestors and descendants over so many generations.
        """
    def verify(self, id: str) -> bool:
        """Whether the stored content still has the hash that is its id."""
    def verify_async(self, id: str) -> Coroutine[Any, Any, bool]:
        """As verify, on a thread that may block."""
    def verify_all(self, after: str = "", limit: int = 1000) -> Any:
        """Verify so many contents, in the order of their ids from the one behind after: checked, damaged
        (ids), next (where to go on, or None).
        """
    def verify_all_async(self, after: str = "", limit: int = 1000) -> Coroutine[Any, Any, Any]:
        """As `verify_all`, on a thread that may block."""
    def inventory(self, after: str = "", limit: int = 10000) -> builtins.list[dict[str, Any]]:
        """Every content with what tells its worth, in the order of the ids, from the one behind after."""
    def delete(self, id: str, force: bool = False) -> None:
        """Delete an artifact and all its versions at once. Raises `PitConflict` while it is the newest
        version of a name or another artifact was made from it, unless force.
        """
    def delete_async(self, id: str, force: bool = False) -> Coroutine[Any, Any, None]:
        """As `delete`, on a thread that may block."""
    def trash(self, ids: builtins.list[str], reason: str = "") -> int:
        """Hide artifacts until they are restored, put again, or deleted by `commit_trash`. Gives how many
        there were.
        """
    def restore(self, ids: builtins.list[str]) -> int:
        """Bring artifacts back from the trash. Gives how many there were."""
    def list_trash(self) -> builtins.list[dict[str, Any]]:
        """What is in the trash, with the reason and since when (µs)."""
    def commit_trash(self, ids: builtins.list[str] | None = None, force: bool = True) -> dict[str, Any]:
        """Delete what is in the trash, or of it the ids given; gives how many and how many bytes. Without
        force, what is the newest version of a name or was made into another artifact comes back
        instead.
        """
    def commit_trash_async(
        self,
        ids: builtins.list[str] | None = None,
        force: bool = True,
    ) -> Coroutine[Any, Any, dict[str, Any]]:
        """As `commit_trash`, on a thread that may block."""
    def cool(self, id: str) -> dict[str, Any]:
        """Keep an artifact compressed from now on; it is read as before. Gives cold, size, bytes (that it
        takes now) and the reason why it stays as it is: it is small, or compressing saves less than an
        eighth.
        """
    def cool_async(self, id: str) -> Coroutine[Any, Any, dict[str, Any]]:
        """As cool, on a thread that may block."""
    def cool_all(self, idle: float, after: str = "", limit: int = 1000) -> dict[str, Any]:
        """Cool what was neither stored nor read within so many seconds, of so many contents in the order
        of their ids from the one behind after: checked, cooled, saved (bytes), damaged (ids; these stay
        as they are), next (where to go on, or None).
        """
    def cool_all_async(
        self,
        idle: float,
        after: str = "",
        limit: int = 1000,
    ) -> Coroutine[Any, Any, dict[str, Any]]:
        """As `cool_all`, on a thread that may block."""
    def warm(self, id: str) -> None:
        """Keep a cold artifact as it was put again."""
    def warm_async(self, id: str) -> Coroutine[Any, Any, None]:
        """As warm, on a thread that may block."""
    def archive(self, id: str, folder: str) -> None:
        """Move the bytes of an artifact to another folder (an absolute path); what is known of it stays."""
    def archive_async(self, id: str, folder: str) -> Coroutine[Any, Any, None]:
        """As `archive`, on a thread that may block."""
    def retrieve(self, id: str) -> None:
        """Bring the bytes of an archived artifact back."""
    def retrieve_async(self, id: str) -> Coroutine[Any, Any, None]:
        """As `retrieve`, on a thread that may block."""
