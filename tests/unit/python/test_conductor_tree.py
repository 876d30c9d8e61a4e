"""Listing a folder: what is read, what never, and what is skipped with which reason."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from symphony_conductor.tree import Unusable, fingerprint, list_folder, read

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.unit, pytest.mark.python]

LIMIT = 1000


def plant(root: Path, files: dict[str, str | bytes]) -> None:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)


def listed(root: Path) -> set[str]:
    return set(list_folder(root, LIMIT).files)


def test_gitignore_files_nest_as_in_git(tmp_path: Path) -> None:
    files = (
        "a.log keep.log build/x.py src/build/y.py src/a.log src/b.tmp src/generated/z.py "
        "src/deep/generated/w.py docs/a.md sub/c.tmp"
    )
    plant(
        tmp_path,
        {
            ".gitignore": "*.log\n/build\n!keep.log\n# comment\n\n[bad\n",
            "src/.gitignore": "!a.log\ngenerated/\n*.tmp",
            "docs/.gitignore": "*",
            **dict.fromkeys(files.split(), ""),
        },
    )
    found = listed(tmp_path)
    assert found == {".gitignore", "keep.log", "src/build/y.py", "src/.gitignore", "src/a.log", "sub/c.tmp"}
    if subprocess.run(["git", "init", "-q", tmp_path], check=False).returncode == 0:
        shown = subprocess.run(
            ["git", "-C", tmp_path, "ls-files", "-co", "--exclude-standard"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert set(shown.stdout.split()) == found


def test_a_part_of_a_repository_obeys_the_files_above(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {".git/HEAD": "", ".gitignore": "*.log\nout/\n", "part/a.log": "", "part/b.py": "", "out/c.py": ""},
    )
    assert listed(tmp_path / "part") == {"b.py"}
    assert listed(tmp_path / "out") == {"c.py"}, "a folder that is named is wanted"


def test_rules_above_need_a_repository(tmp_path: Path) -> None:
    plant(tmp_path, {".gitignore": "*.log\n", "part/a.log": ""})
    assert listed(tmp_path / "part") == {"a.log"}


def test_secrets_and_version_control_are_never_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (
        ".env .env.local prod.env server.pem id_rsa id_ed25519.bak tls.key .netrc .npmrc Deep/.ENV sub/.git"
    )
    names = [*files.split(), ".git/config", ".hg/x", ".svn/y", ".ssh/config"]
    plant(tmp_path, {**dict.fromkeys(names, "secret"), "env.py": "x", "sub/ok.txt": "y"})
    opened: list[str] = []
    real = os.open

    def watch(path: str | os.PathLike[str], flags: int, *more: int) -> int:
        opened.append(os.path.relpath(path, tmp_path))
        return real(path, flags, *more)

    monkeypatch.setattr(os, "open", watch)
    listing = list_folder(tmp_path, LIMIT)
    assert set(listing.files) == {"env.py", "sub/ok.txt"}
    assert listing.skipped == {}
    assert not set(names) & set(opened)


def test_each_skipped_file_has_its_reason(tmp_path: Path) -> None:
    plant(
        tmp_path,
        {
            "nul.bin": b"a\0b",
            "latin.txt": "é".encode("latin-1"),
            "big.txt": "x" * 1001,
            "fits.txt": "x" * 1000,
            "no.txt": "",
        },
    )
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "out").symlink_to("/etc/passwd")
    (tmp_path / "inside").symlink_to(tmp_path / "fits.txt")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(tmp_path)
    listing = list_folder(tmp_path, LIMIT)
    assert set(listing.files) == {"fits.txt", "no.txt"}
    assert listing.skipped == {
        "nul.bin": "binary: holds NUL bytes",
        "latin.txt": "binary: not UTF-8 text",
        "big.txt": "over-large: 1001 bytes, the limit is 1000",
        "pipe": "unreadable: not a regular file",
        "out": "unreadable: a symbolic link out of the folder",
    }


def test_names_that_are_not_utf8_are_skipped(tmp_path: Path) -> None:
    try:
        (tmp_path / os.fsdecode(b"caf\xe9.txt")).write_text("x")
    except OSError:
        pytest.skip("this file system wants UTF-8 names")
    assert list_folder(tmp_path, LIMIT).skipped == {"caf\\xe9.txt": "unreadable: the name is not UTF-8"}


@contextmanager
def modes_respected() -> Iterator[None]:
    """Lay down what lets root read everything (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH), in this thread."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = struct.pack("=Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, the calling thread
    held = ctypes.create_string_buffer(24)
    assert libc.capget(header, held) == 0
    effective, *others = struct.unpack("=6I", held.raw)
    assert libc.capset(header, struct.pack("=6I", effective & ~0b110, *others)) == 0
    try:
        yield
    finally:
        assert libc.capset(header, held.raw) == 0


def test_what_may_not_be_read_is_skipped(tmp_path: Path) -> None:
    plant(tmp_path, {"shut.txt": "x", "closed/a.txt": "y"})
    (tmp_path / "shut.txt").chmod(0)
    (tmp_path / "closed").chmod(0)
    with modes_respected():
        skipped = list_folder(tmp_path, LIMIT).skipped
    (tmp_path / "closed").chmod(0o700)
    assert skipped == {
        "shut.txt": "unreadable: Permission denied",
        "closed/": "unreadable: Permission denied",
    }


def test_a_vanished_file_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="unreadable: No such file"):
        read(tmp_path / "gone", LIMIT)


def test_fingerprints_change_with_text_and_kind() -> None:
    assert fingerprint("a.py", "x") == fingerprint("b/c.py", "x")
    assert len({fingerprint("a.py", "x"), fingerprint("a.md", "x"), fingerprint("a.py", "y")}) == 3


def test_a_byte_order_mark_is_no_text(tmp_path: Path) -> None:
    plant(tmp_path, {"a.py": b"\xef\xbb\xbfx = 1\n"})
    assert read(tmp_path / "a.py", LIMIT) == "x = 1\n"
