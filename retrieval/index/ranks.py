"""Ranks of photos by name and by label: numbers in the order of these texts, since Qdrant sorts by numbers and dates.

A rank belongs to a text: photos with the same name, or the same label, have the same rank. Jobs give ranks to the
photos of large indexes (`indexer.index_ranks`). A rank is stored with the checksum of its text and is left out when the
payload is written with another one, so that a photo with a new name or label has no rank until a job gives it one.
"""

import zlib
from collections.abc import Mapping

from retrieval.photo_ref import file_name

RANKED = ("name", "label")
FIELD = "ranks"


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


def _checksum_name(key: str) -> str:
    return f"{key}_of"


def _checksum(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass"))
