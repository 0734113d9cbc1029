"""Ranks of photos by name and by label: numbers in the order of these texts, since Qdrant sorts by numbers and dates.

A rank belongs to a text: photos with the same name, or the same label, have the same rank. Jobs give ranks to the
photos of large indexes (`indexer.index_ranks`). A rank is stored with the checksum of its text and is left out when the
payload is written with another one, so that a photo with a new name or label has no rank until a job gives it one.
"""

import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from retrieval.photo_ref import file_name

if TYPE_CHECKING:
    from retrieval.index.base import VectorIndex

RANKED = ("name", "label")
FIELD = "ranks"
VERSION = 1  # of the ranks and of the order of texts
NOTE = "ranks"  # saved with the index if photos have ranks that agree with each other


def sort_name(uri: str) -> str:
    """Return the text by which a photo is sorted by name: its file name, without regard to case."""
    return file_name(uri).casefold()


def sort_label(label: str | None) -> str | None:
    """Return the text by which a photo is sorted by label, without regard to case; None if it is unlabelled."""
    return label and label.casefold()


def sort_texts(uri: str, label: str | None) -> dict[str, str]:
    """Return the texts by which a photo is sorted, by the names of the orders."""
    texts = {"name": sort_name(uri), "label": sort_label(label)}
    return {key: text for key, text in texts.items() if text is not None}


def ranks_of(texts: Mapping[str, str], ranks: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    """Return the ranks of a photo and their checksums, as the payload stores them.

    Args:
        texts: by which the photo is sorted.
        ranks: those of all texts, by order; a text may be missing.
    """
    found = {key: ranks[key][text] for key, text in texts.items() if text in ranks[key]}
    return found | {_checksum_name(key): _checksum(texts[key]) for key in found}


def current_ranks(stored: Mapping[str, int], texts: Mapping[str, str]) -> dict[str, int]:
    """Return what a payload stores without the ranks of a former name or label."""
    keys = [key for key, text in texts.items() if key in stored and stored.get(_checksum_name(key)) == _checksum(text)]
    return {name: stored[name] for key in keys for name in (key, _checksum_name(key))}


def has_ranks(index: "VectorIndex") -> bool:
    """Whether the index can sort by ranks; a few photos may have none."""
    with suppress(ValueError):
        return int(index.note(NOTE) or 0) == VERSION
    return False


def note_ranks(index: "VectorIndex", *, complete: bool) -> None:
    """Save whether the index can sort by ranks; raises `IndexWriteFailed` if that is not possible."""
    index.save_note(NOTE, str(VERSION if complete else 0))


def _checksum_name(key: str) -> str:
    return f"{key}_of"


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))
