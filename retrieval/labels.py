"""Labels as they are stored and compared."""

import unicodedata

from retrieval.photo_ref import display


def normalized(label: str | None) -> str | None:
    """A label in Unicode's composed form (NFC), without blanks around it, as one printable line; None if it is empty.

    Two names that look the same are then the same label, however a file system or an editor composes its characters.
    """
    if label is None:
        return None
    if label.isascii() and label.isprintable():
        return label.strip() or None
    return display(composed(label)) or None


def composed(text: str) -> str:
    """A text in Unicode's composed form (NFC), without blanks around it."""
    return unicodedata.normalize("NFC", text).strip()


def forms(label: str) -> tuple[str, ...]:
    """The forms in which an index may hold a label: composed and trimmed, or as older versions stored it."""
    name = normalized(label) or label
    return tuple(dict.fromkeys((name, label, unicodedata.normalize("NFD", name))))
