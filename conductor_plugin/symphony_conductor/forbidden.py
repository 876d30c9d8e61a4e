"""Says which names are never read: they may hold secrets, or belong to version control.

Judged by name alone, before anything is opened.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

_SETTINGS = (
    ".env*",
    "*.env",
    ".netrc",
    "_netrc",
    ".pgpass",
    ".htpasswd",
    ".npmrc",
    ".pypirc",
    ".git-credentials",
)
_KEYS = ("*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.jks", "*.keystore", "*.kdbx", "*.ppk", "*.gpg")
_SSH_KEYS = ("id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*")
_FILES = (*_SETTINGS, *_KEYS, *_SSH_KEYS)
_FOLDERS = frozenset({".ssh", ".gnupg", ".aws"})
_VERSION_CONTROL = frozenset({".git", ".hg", ".svn", ".bzr", ".jj", ".pijul", "_darcs", "cvs"})


def never_read(name: str, *, folder: bool) -> bool:
    """Whether a file or folder of this name is left alone.

    Example
    -------
    >>> [never_read(name, folder=False) for name in (".env.local", "server.pem", "env.py")]
    [True, True, False]
    """
    name = name.lower()
    # In a worktree or submodule .git is a file.
    if name in _VERSION_CONTROL:
        return True
    # A folder .env is a virtual environment at best.
    return (folder and name in _FOLDERS) or any(fnmatchcase(name, pattern) for pattern in _FILES)
