"""Sources: the stream of their photos, and the points of an index whose photo they no longer hold."""

import uuid
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from indexer.batch import batches
from retrieval.errors import BadSource, MissingPhoto, UnreadablePhoto
from retrieval.index import VectorIndex
from retrieval.listing import LabelFrom, is_folder, list_photos
from retrieval.photo_ref import PhotoRef, display, is_url
from retrieval.source_policy import DEFAULT_POLICY, SourcePolicy
from retrieval.stores import LocalStore, OnSkipped, store_of

AT_ONCE = 1000


def list_sources(
    sources: Sequence[str],
    label_from: LabelFrom | None = None,
    on_skipped: OnSkipped | None = None,
    policy: SourcePolicy = DEFAULT_POLICY,
) -> Iterator[PhotoRef]:
    """The photos of several sources, one after the other.

    Args:
        sources: folders and manifests.
        label_from: where labels come from; None: a folder's from its folders, a manifest's from itself.
        on_skipped: called with each folder below a source that can't be listed, and each line of a manifest that
            names no photo; None: such an entry raises `BadSource`.
        policy: whether sources, and manifests among them, may name URLs.

    Raises:
        BadSource: at once where one of them can't be listed or holds no photo; later where one vanishes midway.
    """
    return chain.from_iterable([_list_source(source, label_from, on_skipped, policy) for source in sources])


def lasting_name(source: str) -> str:
    """A source by a name that any process understands, wherever it was started."""
    return source if is_url(source) else str(Path(source).absolute())


def remove_gone(index: VectorIndex, sources: Sequence[str], policy: SourcePolicy = DEFAULT_POLICY) -> int:
    """Remove the points that belong to these sources and whose photo is gone; returns how many.

    A point belongs to a folder, or to a URL that is one, when its photo lay below it, and is gone when the folder no
    longer lists it. It belongs to a manifest when its photo lay below the manifest's folder, and is gone when there is
    no such file: other manifests may name photos that this one does not. Manifests at URLs own no photo. Below a
    folder that can't be listed, nothing is gone; nor is what another job indexes meanwhile.

    Raises:
        BadSource: a source can't be listed, or holds no photo at all; nothing is removed.
    """
    in_folders, beside_manifests = _owned(index, sources)  # before the listing: what is indexed meanwhile is not gone
    unlistable: list[str] = []
    for photo in list_sources(sources, None, lambda entry: unlistable.append(f"{entry.uri}/"), policy):
        in_folders.discard(photo.id)
    unknown = tuple(unlistable)
    removed = 0
    for ids in batches(chain(in_folders, beside_manifests), AT_ONCE):
        gone = [
            point
            for point, payload in index.get(ids).items()
            if not payload.uri.startswith(unknown) and (point in in_folders or _is_missing(payload.uri))
        ]
        index.delete(gone)
        removed += len(gone)
    return removed


def _owned(index: VectorIndex, sources: Sequence[str]) -> tuple[set[uuid.UUID], set[uuid.UUID]]:
    """The points that belong to folders among the sources, and those that belong to manifests alone."""
    folders = [source for source in sources if is_folder(source)]
    owners = [store_of(folder).prefix(folder) for folder in folders]
    manifests = tuple(
        LocalStore().prefix(str(Path(source).parent))[0]
        for source in sources
        if source not in folders and not is_url(source)
    )
    in_folders, beside_manifests = set[uuid.UUID](), set[uuid.UUID]()
    for point in index.scroll():
        uri = point.payload.uri
        if any(uri.startswith(start) and uri.endswith(end) for start, end in owners):
            in_folders.add(point.id)
        elif uri.startswith(manifests):
            beside_manifests.add(point.id)
    return in_folders, beside_manifests


def _list_source(
    source: str, label_from: LabelFrom | None, on_skipped: OnSkipped | None, policy: SourcePolicy
) -> Iterator[PhotoRef]:
    if is_url(source) and not policy.allow_urls:
        raise BadSource(f"{display(source)} is a URL.", "Name a folder or manifest on this machine.")
    labels = label_from or ("folder" if is_folder(source) else "manifest")
    photos = list_photos(source, labels, on_skipped, policy)
    first = next(photos, None)
    if first is None:
        raise BadSource(f"{display(source)} holds no photo.", "Name a folder or manifest that does.")
    return chain([first], photos)


def _is_missing(uri: str) -> bool:
    """Whether a photo's file does not exist; False if its store can't be reached now."""
    try:
        store_of(uri).status(uri)
    except MissingPhoto:
        return True
    except UnreadablePhoto:
        pass
    return False
