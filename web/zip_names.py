"""The names of photos in a ZIP archive."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable

LONGEST = 150  # characters of a file or folder name; file systems accept 255 bytes
LONGEST_SUFFIX = 10
NOT_ALLOWED = re.compile(r'[\x00-\x1f\x7f<>:"|?*]')  # in file names on Windows
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


class ZipNames:
    """Makes names from paths: safe to extract on every system, and different from each other, even in lower case.

    Args:
        taken: names that no photo may have.
    """

    def __init__(self, taken: Iterable[str] = ()) -> None:
        self._uses = Counter(_key(name) for name in taken)

    def of(self, path: str) -> str:
        """Return the name for a path, in which slashes separate folders."""
        parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".", "..")]
        wanted = name = "/".join(map(_safe, parts)) or "photo"
        folder, slash, file = wanted.rpartition("/")
        stem, suffix = _split(file)
        while _key(name) in self._uses:
            self._uses[_key(wanted)] += 1
            name = f"{folder}{slash}{stem} ({self._uses[_key(wanted)]}){suffix}"
        self._uses[_key(name)] += 1
        return name


def _safe(name: str) -> str:
    """A file or folder name that every system accepts."""
    allowed = NOT_ALLOWED.sub("_", unicodedata.normalize("NFC", name)).rstrip(". ") or "_"
    stem, suffix = _split(f"_{allowed}" if DEVICES.match(allowed) else allowed)
    return stem[: LONGEST - len(suffix)] + suffix


def _split(name: str) -> tuple[str, str]:
    """The stem of a file name, and its suffix with the dot, if it is short enough to be one."""
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix) if stem and len(suffix) < LONGEST_SUFFIX else (name, "")


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
