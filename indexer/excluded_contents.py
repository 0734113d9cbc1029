"""The note in an index with the contents of the photos that persons removed."""

from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from retrieval.index import VectorIndex

NOTE = "excluded"  # its name in the index
CONTENTS = TypeAdapter(set[str])


def excluded_contents(index: VectorIndex) -> set[str]:
    """Return the sha256 of the photos that persons removed."""
    return parse_contents(index.note(NOTE))


def save_contents(index: VectorIndex, contents: Iterable[str]) -> None:
    """Save the contents of the photos that persons removed; they replace all others."""
    index.save_note(NOTE, CONTENTS.dump_json(set(contents)).decode())


def parse_contents(note: str | None) -> set[str]:
    """Return the contents in a note; none if there is no note, or it is damaged."""
    try:
        return CONTENTS.validate_json(note or "[]")
    except ValidationError:
        return set()
