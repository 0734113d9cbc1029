"""Searches that persons have saved under names, kept in the home for each key.

A search is saved as the address of its page. There is a file for each key, `HOME/searches/KEY.json`. The uploaded query
photo of a saved search is kept as long as the search is (`KeptQueries.pin`).
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from filelock import FileLock
from pydantic import BaseModel, ValidationError

from retrieval.errors import BadQuery, LookalikeError, NotFound, os_errors_as
from retrieval.files import make_folder, write_atomically
from retrieval.photo_ref import display
from web.kept_queries import KeptQueries

MOST_SEARCHES = 200  # of a key


class NameInUse(LookalikeError):
    """A search is to be renamed, but there is another one with that name."""


class SavedSearch(BaseModel):
    """A saved search."""

    name: str
    address: str  # of its page, below the root of the server
    saved_at: str  # ISO 8601 in UTC


class _File(BaseModel):
    """The content of a key's file."""

    version: int = 1
    searches: list[SavedSearch] = []


@dataclass(frozen=True, slots=True)
class SavedSearches:
    """The saved searches of all keys.

    All methods raise `LookalikeError` if the file of the key can't be read or written.
    """

    folder: Path
    kept_queries: KeptQueries

    def of(self, key: str) -> list[SavedSearch]:
        """Return the searches of a key, by name."""
        return sorted(self._read(key), key=lambda search: search.name.casefold())

    def find(self, key: str, name: str) -> SavedSearch:
        """Return a search; raises `NotFound`."""
        found = next((search for search in self._read(key) if search.name == name), None)
        if found is None:
            raise NotFound(f"There is no saved search {display(name)}.", "It may have been renamed or removed.")
        return found

    def save(self, key: str, name: str, address: str) -> tuple[SavedSearch, bool]:
        """Save a search in place of one with the same name; return it, and whether its name is new.

        Raises `BadQuery` if the key has `MOST_SEARCHES` searches already.
        """
        saved = SavedSearch(name=name, address=address, saved_at=datetime.now(UTC).isoformat(timespec="seconds"))
        with self._changing(key) as searches:
            others = [search for search in searches if search.name != name]
            if len(others) >= MOST_SEARCHES:
                raise BadQuery(f"{MOST_SEARCHES} searches are saved, which is the most.", "Remove one of them.")
            is_new = len(others) == len(searches)
            searches[:] = [*others, saved]
            if token := _token(saved):
                self.kept_queries.pin(token)
        return saved, is_new

    def rename(self, key: str, name: str, new: str) -> SavedSearch:
        """Give a search another name; raises `NotFound`, and `NameInUse` if another search has it."""
        with self._changing(key) as searches:
            old = self.find(key, name)
            if new != name and any(search.name == new for search in searches):
                raise NameInUse(f"There is another saved search {display(new)}.", "Choose another name.")
            renamed = old.model_copy(update={"name": new})
            searches[:] = [renamed if search.name == name else search for search in searches]
        return renamed

    def remove(self, key: str, name: str) -> None:
        """Remove a search, and the photo that was kept for it; raises `NotFound`."""
        with self._changing(key) as searches:
            self.find(key, name)
            searches[:] = [search for search in searches if search.name != name]

    def keeps_photo(self, search: SavedSearch) -> bool:
        """Whether the uploaded query photo of a search is kept with it."""
        return self.kept_queries.is_pinned(_token(search))

    @contextmanager
    def _changing(self, key: str) -> Iterator[list[SavedSearch]]:
        """Yield the searches of a key; write what is changed, and delete the photos that no search needs any more."""
        with os_errors_as(LookalikeError, "The saved searches can't be written", "Free disk space."):
            make_folder(self.folder)
            with FileLock(self.folder / ".lock"):
                searches = self._read(key)
                yield searches
                content = _File(searches=searches).model_dump_json(indent=1)
                write_atomically(self._path(key), content)
                self._delete_unneeded_photos()

    def _delete_unneeded_photos(self) -> None:
        with suppress(LookalikeError):  # a damaged file of another key, whose photos are kept
            everybody = [search for path in self.folder.glob("*.json") for search in self._read(path.stem)]
            self.kept_queries.unpin_others({token for search in everybody if (token := _token(search))})

    def _read(self, key: str) -> list[SavedSearch]:
        path = self._path(key)
        with os_errors_as(LookalikeError, f"The saved searches, {path}, can't be read", "Correct its permissions."):
            if not path.exists():
                return []
            try:
                return _File.model_validate_json(path.read_bytes()).searches
            except ValidationError:
                raise LookalikeError(
                    f"The saved searches, {path}, are damaged.", "Move that file to another place."
                ) from None

    def _path(self, key: str) -> Path:
        return self.folder / f"{key}.json"


def _token(search: SavedSearch) -> str:
    """The token of the uploaded query photo of a search; empty if there is none."""
    return parse_qs(urlsplit(search.address).query).get("kept", [""])[0]
