"""The photos of the index as a data set, with their current labels: `--data index:`."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from retrieval.api_keys import Scope
from retrieval.current_model import bundle_in_use
from retrieval.errors import BadSource, IndexBusy, LookalikeError, NoModel
from retrieval.index import VectorIndex, open_store
from retrieval.local_server import ask
from retrieval.photo_ref import Extra, PhotoRef, display_uri
from retrieval.settings import Settings

INDEX = "index:"
PAGE = 1000  # photos in a response of the server


@dataclass(frozen=True, slots=True)
class IndexedPhotos:
    """Photos whose files exist on this machine, and the sha256 of each when it was indexed, by URI."""

    photos: list[PhotoRef]
    contents: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Indexed:
    """What is needed of an indexed photo."""

    uri: str
    label: str | None
    sha256: str
    extra: Extra


def read_indexed(settings: Settings, say: Callable[[str], None]) -> IndexedPhotos:
    """Return the photos of the index in use; report how many are not used since they were removed, or have no file.

    If the server of this home has the index open, it is asked for its photos.

    Raises:
        BadSource: there is no index, or it has no photos that can be read.
        LookalikeError: another process has the index open, or the server refuses.
    """
    found, removed = _read(settings)
    if not found:
        raise BadSource("The index has no photos.", "Index some with `lookalike index FOLDER`.")
    if removed:
        say(f"Photos left out because they were removed from the index: {removed}.")
    local = [photo for photo in found if photo.uri.startswith("file:")]
    if len(local) < len(found):
        say(f"Photos left out because they are at URLs, not on this machine: {len(found) - len(local)}.")
    refs = [PhotoRef(photo.uri, photo.label, extra=photo.extra) for photo in local]
    existing = [photo for photo in refs if photo.path.exists()]
    if gone := set(refs) - set(existing):
        example = display_uri(min(photo.uri for photo in gone))
        say(f"Photos left out because their files do not exist any more: {len(gone)}, for example {example}.")
    if not existing:
        raise BadSource("No photo of the index has a file on this machine.", "Index its folders again.")
    return IndexedPhotos(existing, {photo.uri: photo.sha256 for photo in local})


def _read(settings: Settings) -> tuple[list[_Indexed], int]:
    """Return the photos of the index in use, and how many persons removed."""
    with open_store(settings) as store:
        try:
            bundle = bundle_in_use(settings, store)
        except NoModel:
            raise _no_index() from None
        if bundle.model_id not in store.models():
            raise _no_index()
        try:
            with store.open(bundle.model_id, bundle.dimension, bundle.look) as index:
                return list(_photos_of(index)), _removed_from(index)
        except IndexBusy as busy:
            if busy.address is None:
                raise
            return list(_photos_of_server(settings, busy.address)), _removed_on_server(settings, busy.address)


def _no_index() -> BadSource:
    return BadSource(
        "There is no index to train on.", "Index photos with `lookalike index FOLDER`, or name a folder with --data."
    )


def _photos_of(index: VectorIndex) -> Iterator[_Indexed]:
    for _, payload in index.scroll_payloads():
        yield _Indexed(payload.uri, payload.label, payload.sha256, payload.extra)


def _removed_from(index: VectorIndex) -> int:
    if not index.has_removed():
        return 0
    return sum(payload.removed_by == "person" for _, payload in index.removed().scroll_payloads())


def _photos_of_server(settings: Settings, address: str) -> Iterator[_Indexed]:
    after: dict[str, str] = {}
    while page := _get(settings, address, "/images", {"limit": PAGE, **after})["images"]:
        for photo in page:
            if photo["uri"] is None:
                raise LookalikeError(
                    f"The server at {address} does not show the paths of its photos.",
                    "Add a key of the scope write or admin to LOOKALIKE_API_KEYS, or stop the server.",
                )
            yield _Indexed(photo["uri"], photo["label"], photo["sha256"], photo["extra"])
        after = {"after": page[-1]["id"]}


def _removed_on_server(settings: Settings, address: str) -> int:
    return int(_get(settings, address, "/images/removed", {"limit": 1})["total"])


def _get(settings: Settings, address: str, path: str, params: dict[str, str | int]) -> dict[str, Any]:
    found: dict[str, Any] = ask(settings, address, "GET", path, scope=Scope.WRITE, params=params).json()
    return found
