"""Lists the readable text files of a folder, with a fingerprint each, and the skipped ones with the reason.

The only module that opens the user's files. It follows no symbolic link, opens nothing but regular files, and
keeps no content.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from symphony_conductor.forbidden import never_read
from symphony_conductor.ignore import Ignore
from symphony_conductor.passages import RECIPE, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator


class Unusable(Exception):
    """A file that cannot be indexed; the message is the reason."""


@dataclass(slots=True)
class Listing:
    """What a folder holds.

    ``files`` maps paths, relative and with ``/``, to fingerprints; ``skipped`` maps paths to reasons.
    """

    files: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


def list_folder(root: Path, max_file_size: int) -> Listing:
    """Walk a folder.

    Parameters
    ----------
    root:
        The folder, absolute, without symbolic links in its path.
    max_file_size:
        In bytes; larger files are skipped.

    Raises
    ------
    OSError
        ``root`` itself cannot be listed.
    """
    listing = Listing()
    for path, entry in _walk(root, "", Ignore.above(root), listing.skipped):
        try:
            listing.files[path] = fingerprint(path, read(entry, max_file_size))
        except Unusable as reason:
            listing.skipped[path] = str(reason)
    return listing


def read(path: str | os.PathLike[str], max_file_size: int) -> str:
    """Read one text file.

    Raises
    ------
    Unusable
        It is no regular file, larger than ``max_file_size`` bytes, binary, or not to be read.
    """
    try:
        # O_NONBLOCK: a file replaced by a pipe in the meantime must not stop us.
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise Unusable("unreadable: not a regular file")
            if status.st_size > max_file_size:
                raise Unusable(f"over-large: {status.st_size} bytes, the limit is {max_file_size}")
            content = file.read(max_file_size + 1)
    except OSError as error:
        raise Unusable(f"unreadable: {error.strerror}") from None
    if len(content) > max_file_size:  # it grew, or lies in a file system that tells no sizes
        raise Unusable(f"over-large: the limit is {max_file_size} bytes")
    if b"\0" in content:
        raise Unusable("binary: holds NUL bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Unusable("binary: not UTF-8 text") from None


def fingerprint(path: str, text: str) -> str:
    """Changes whenever the passages of a file may change: with its text, its kind, our way of cutting."""
    digest = hashlib.blake2b(text.encode(), digest_size=20).hexdigest()
    return f"{RECIPE}-{kind_of(path)}-{digest}"


def _walk(
    root: Path, folder: str, outer: Ignore, skipped: dict[str, str]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Regular files in the order of their paths; what cannot be read at all goes to ``skipped``."""
    try:
        with os.scandir(root / folder) as listed:
            entries = sorted(listed, key=lambda entry: entry.name)
    except OSError as error:
        if not folder:
            raise
        skipped[folder + "/"] = f"unreadable: {error.strerror}"
        return
    rules = outer.within(root, folder)
    for entry in entries:
        path = f"{folder}/{entry.name}" if folder else entry.name
        is_folder = entry.is_dir(follow_symlinks=False)
        if never_read(entry.name, folder=is_folder) or rules.matches(path, folder=is_folder):
            continue
        try:
            entry.name.encode()
        except UnicodeEncodeError:
            skipped[os.fsencode(path).decode(errors="backslashreplace")] = "unreadable: the name is not UTF-8"
            continue
        if is_folder:
            yield from _walk(root, path, rules, skipped)
        elif entry.is_symlink():
            # A target inside the folder is listed at its own place.
            if not Path(os.path.realpath(entry.path)).is_relative_to(root):
                skipped[path] = "unreadable: a symbolic link out of the folder"
        elif entry.is_file(follow_symlinks=False):
            yield path, entry
        else:
            skipped[path] = "unreadable: not a regular file"
