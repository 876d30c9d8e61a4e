"""Where the home lies, and which homes are refused."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import sys
from pathlib import Path

import pytest

from symphony.errors import HostUnavailable, Refused
from symphony.home import Home, resolve_home, unusable

pytestmark = [pytest.mark.python, pytest.mark.unit]


def test_the_option_counts_before_the_variable_before_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("SYMPHONY_HOME", raising=False)
    digest = hashlib.sha256(sys.prefix.encode()).hexdigest()[:8]
    assert resolve_home() == tmp_path / "symphony" / digest
    monkeypatch.setenv("XDG_DATA_HOME", "relative/is/ignored")
    assert resolve_home() == Path.home() / ".local/share/symphony" / digest
    monkeypatch.setenv("SYMPHONY_HOME", "~/h")
    assert resolve_home() == Path.home() / "h"
    assert resolve_home("x/../y") == Path.cwd() / "y"


def test_a_home_is_made_private(tmp_path: Path) -> None:
    home = Home(tmp_path / "deep" / "home").ensure()
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o700


def test_an_empty_folder_becomes_private_and_a_used_one_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    Home(tmp_path).ensure()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700
    (tmp_path / "plugins.toml").touch()
    tmp_path.chmod(0o770)
    with pytest.raises(Refused, match="0770") as error:
        Home(tmp_path).ensure()
    assert error.value.hint == f"chmod 700 {tmp_path}"
    tmp_path.chmod(0o700)


def test_a_home_that_others_may_read_becomes_private(tmp_path: Path) -> None:
    (tmp_path / "config.toml").touch()
    tmp_path.chmod(0o755)
    Home(tmp_path).check()  # looking changes nothing
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
    Home(tmp_path).ensure()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder away")
def test_another_users_home_is_refused(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(Refused, match="uid 12345"):
        Home(tmp_path).check()
    os.chown(tmp_path, 0, -1)


def test_a_file_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostUnavailable, match="not a folder"):
        Home(tmp_path / "file").ensure()
    with pytest.raises(HostUnavailable):
        Home(tmp_path / "file" / "home").ensure()


def test_the_reason_says_what_to_free() -> None:
    full = unusable(Path("/h"), OSError(errno.ENOSPC, "No space left on device"))
    assert (str(full), full.hint, full.exit_code) == (
        "home /h: the disk is full",
        "free some space: df -h /h",
        9,
    )
    assert "read-only" in str(unusable(Path("/h"), OSError(errno.EROFS, "")))


def test_trying_the_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    Home(tmp_path).ensure_writable()
    assert list(tmp_path.iterdir()) == []
