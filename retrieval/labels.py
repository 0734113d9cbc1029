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
    return display(unicodedata.normalize("NFC", label).strip()) or None
