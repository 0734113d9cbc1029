"""How the folders of a source are listed."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ListingOptions:
    """Which files of a folder are listed, and whether their labels replace those in the index."""

    include_hidden: bool = False  # also files and folders with a name that starts with a dot
    exclude: tuple[str, ...] = ()  # gitignore patterns, relative to the source
    home: Path | None = None  # Lookalike's own folder, which is never listed
    relabel: bool = False  # whether labels from folder names replace labels that the index has


DEFAULT_OPTIONS = ListingOptions()
