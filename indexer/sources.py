"""Sources: the stream of their photos, and the points of an index whose photo they no longer hold."""

import os
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from indexer.batch import batches
from retrieval.errors import BadSource
from retrieval.index import Point, VectorIndex
from retrieval.photos import (
    LabelFrom,
    OnUnlistable,
    PhotoRef,
    display,
    is_folder,
    is_url,
    list_photos,
    path_of,
    uri_of,
)

REMOVED_AT_ONCE = 1000


def list_sources(
    sources: Sequence[str],
    label_from: LabelFrom | None = None,
    on_unlistable: OnUnlistable | None = None,
    *,
    urls: bool = False,
) -> Iterator[PhotoRef]:
    """The photos of several sources, one after the other.

    Args:
        sources: folders and manifests.
        label_from: where labels come from; None: a folder's from its folders, a manifest's from itself.
        on_unlistable: told of each folder below a source that can't be listed, and of each line of a manifest that
            names no photo; None: that is an error.
        urls: whether sources, and manifests among them, may name URLs.

    Raises:
        BadSource: at once where one of them can't be listed or holds no photo; later where one vanishes midway.
    """
    return chain.from_iterable([_list_source(source, label_from, on_unlistable, urls) for source in sources])


def lasting_name(source: str) -> str:
    """A source by a name that any process understands, wherever it was started."""
    return source if is_url(source) else str(Path(source).absolute())


def remove_gone(index: VectorIndex, sources: Sequence[str], *, urls: bool = False) -> int:
    """Remove the points that belong to these sources and whose photo is gone; returns how many.

    A point belongs to a folder, or to a URL that is one, when its photo lay below it, and is gone when the folder no
    longer lists it. It belongs to a manifest when its photo lay below the manifest's folder, and is gone when there is
    no such file: other manifests may name photos that this one does not. Manifests at URLs own no photo. Below a
    folder that can't be listed, nothing is gone.

    Raises:
        BadSource: a source can't be listed, or holds no photo at all; nothing is removed.
    """
    unlistable: list[str] = []
    listed = {photo.id for photo in list_sources(sources, None, lambda uri, _: unlistable.append(f"{uri}/"), urls=urls)}
    unknown = tuple(unlistable)
    folders = [source for source in sources if is_folder(source)]
    manifests = tuple(
        _prefix(Path(source).parent) for source in sources if source not in folders and not is_url(source)
    )
    owners = [_owner(folder) for folder in folders]

    def is_gone(point: Point) -> bool:
        uri = point.payload.uri
        if uri.startswith(unknown):
            return False
        if any(uri.startswith(start) and uri.endswith(end) for start, end in owners):
            return point.id not in listed
        return uri.startswith(manifests) and _is_missing(uri)

    gone = [point.id for point in index.scroll() if is_gone(point)]
    for batch in batches(gone, REMOVED_AT_ONCE):
        index.delete(batch)
    return len(gone)


def _list_source(
    source: str, label_from: LabelFrom | None, on_unlistable: OnUnlistable | None, urls: bool
) -> Iterator[PhotoRef]:
    if is_url(source) and not urls:
        raise BadSource(f"{display(source)} is a URL.", "Name a folder or manifest on this machine.")
    labels = label_from or ("folder" if is_folder(source) else "manifest")
    photos = list_photos(source, labels, on_unlistable, urls=urls)
    first = next(photos, None)
    if first is None:
        raise BadSource(f"{display(source)} holds no photo.", "Name a folder or manifest that does.")
    return chain([first], photos)


def _owner(folder: str) -> tuple[str, str]:
    """What the URIs of all photos below a folder start with, and, in an archive, end with."""
    if not is_url(folder):
        return _prefix(Path(folder)), ""
    from retrieval import remote  # noqa: PLC0415 - fsspec is only needed for URLs

    return remote.prefix(folder)


def _prefix(folder: Path) -> str:
    """What the URIs of all photos below a folder start with."""
    return uri_of(Path(os.path.realpath(folder))).rstrip("/") + "/"


def _is_missing(uri: str) -> bool:
    """Whether there is no such file; not merely one that can't be reached now."""
    try:
        path_of(uri).stat()
    except (FileNotFoundError, NotADirectoryError):
        return True
    except OSError:
        pass
    return False
