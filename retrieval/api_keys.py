"""The keys of the server: those of `LOOKALIKE_API_KEYS` or, if it is not set, the one in `HOME/api-key`.

`web.keys` decides what a request with a key may do. The command line uses the keys, too, when it asks a running server.
"""

import hmac
import os
import re
import secrets
import tempfile
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from filelock import FileLock

from retrieval.errors import LookalikeError, os_errors_as
from retrieval.files import flush, make_folder
from retrieval.settings import Settings

KEY_FILE = "api-key"
DEFAULT_NAME = "admin"  # of a key without a name
NAMED = re.compile(r"(?P<name>[^:]*):(?P<scope>[A-Za-z]+):(?P<secret>.+)")
NAME = re.compile(r"[\w.-]{1,64}", re.ASCII)


class Scope(IntEnum):
    """What a key permits; each scope includes those before it."""

    READ = 1  # GET, search and explain
    WRITE = 2  # add, label and remove photos; start and cancel jobs
    ADMIN = 3  # models and keys

    def __str__(self) -> str:
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Key:
    """A key: its name, which job records and logs contain, its scope and its secret."""

    name: str
    scope: Scope
    secret: str = field(repr=False)

    @property
    def cookie(self) -> str:
        """The value of the cookie that stands for this key; the secret can't be computed from it."""
        return hmac.new(self.secret.encode(), b"lookalike login", "sha256").hexdigest()


def load_keys(settings: Settings) -> tuple[Key, ...]:
    """Return the configured keys or, if there are none, the key of `HOME/api-key`, which is created at the first call.

    Raises `LookalikeError` if an entry of `LOOKALIKE_API_KEYS` is invalid, or the file can't be read or written.
    """
    if settings.api_keys:
        return tuple(_parse(entry.get_secret_value()) for entry in settings.api_keys)
    path = settings.home / KEY_FILE
    remedy = "Correct its permissions, or set LOOKALIKE_API_KEYS."
    with os_errors_as(LookalikeError, f"The key of the server, {path}, can't be read or created", remedy):
        return (Key(DEFAULT_NAME, Scope.ADMIN, _read_or_create(path)),)


def _parse(entry: str) -> Key:
    """Return the key of an entry `KEY`, whose scope is admin, or `NAME:SCOPE:KEY`."""
    named = NAMED.fullmatch(entry)
    if named is None:
        return Key(DEFAULT_NAME, Scope.ADMIN, entry)
    scope = Scope.__members__.get(named["scope"].upper())
    if NAME.fullmatch(named["name"]) is None:
        if scope is None:
            return Key(DEFAULT_NAME, Scope.ADMIN, entry)
        raise LookalikeError(
            f"A key with the scope {scope} in LOOKALIKE_API_KEYS has no valid name.",
            "A name consists of 1 to 64 letters (a to z), digits, dots, hyphens and underscores.",
        )
    if scope is None:
        raise LookalikeError(
            f"The key {named['name']} in LOOKALIKE_API_KEYS has the unknown scope {named['scope']}.",
            "Each entry is KEY or NAME:SCOPE:KEY, with the scope read, write or admin.",
        )
    return Key(named["name"], scope, named["secret"])


def _read_or_create(path: Path) -> str:
    """Return the key in a file; the first of several processes creates it, with the mode 600."""
    make_folder(path.parent)
    with FileLock(path.with_name(f".{path.name}.lock")):
        if path.exists() and (key := _read(path)):
            return key
        key = secrets.token_urlsafe(32)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # has the mode 600
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{key}\n")
        Path(temporary).replace(path)
        flush(path)
        flush(path.parent)
        return key


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise LookalikeError(
            f"The key of the server, {path}, is not UTF-8 text.", "Delete that file: the next start creates a new key."
        ) from None
