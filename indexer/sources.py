"""The photos of several sources as one stream, and the removal of points whose photo is gone."""

import uuid
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from indexer.batch import batches
from retrieval.errors import MissingPhoto, UnreadablePhoto
from retrieval.index import VectorIndex
from retrieval.listing import LabelFrom, is_folder, list_photos, no_photos
from retrieval.listing_options import DEFAULT_OPTIONS, ListingOptions
from retrieval.listing_report import ListingReport
from retrieval.photo_ref import PhotoRef, is_url
from retrieval.source_policy import DEFAULT_POLICY, SourcePolicy
from retrieval.stores import LocalStore, OnSkipped, store_of

REMOVAL_BATCH = 1000


def list_sources(
    sources: Sequence[str],
    label_from: LabelFrom | None = None,
    on_skipped: OnSkipped | None = None,
    policy: SourcePolicy = DEFAULT_POLICY,
    *,
    options: ListingOptions = DEFAULT_OPTIONS,
    report: ListingReport | None = None,
) -> Iterator[PhotoRef]:
    """The photos of several sources, in the order of the sources.

    Args:
        label_from: where labels come from; None: from folder names for folders, from the manifest for manifests.
        on_skipped: called with each folder below a source that can't be listed, and each line of a manifest that
            names no photo; without it, such an entry raises `BadSource`.
        policy: whether sources, and manifests among them, may name URLs.
        options: which files of folders are listed.
        report: collects what was skipped, and notices.

    Raises:
        BadSource: immediately if a source can't be listed or contains no photo; later if one disappears meanwhile.
    """
    report = report or ListingReport()

    def listed(source: str) -> Iterator[PhotoRef]:
        photos = list_photos(source, label_from or "folder", on_skipped, policy, options=options, report=report)
        first = next(photos, None)
        if first is None:
            raise no_photos(source, policy, options)
        return chain([first], photos)

    return chain.from_iterable([listed(source) for source in sources])


def lasting_name(source: str) -> str:
    """The name of a source that holds in every working directory: its absolute path, or its URL."""
    return source if is_url(source) else str(Path(source).absolute())


def remove_gone(
    index: VectorIndex,
    sources: Sequence[str],
    policy: SourcePolicy = DEFAULT_POLICY,
    options: ListingOptions = DEFAULT_OPTIONS,
) -> int:
    """Remove the points that belong to these sources and whose photo is gone; return their number.

    A point belongs to a folder, local or at a URL, if its photo was below it, and is gone if the folder no longer
    lists it, also because the options skip it. A point belongs to a manifest if its photo was below the manifest's
    folder, and is gone if the file does not exist: other manifests may name photos that this one does not. No point
    belongs to a manifest at a URL. Points below a folder that can't be listed are kept, and so are those that another
    job indexes meanwhile.

    Raises:
        BadSource: a source can't be listed, or contains no photo; nothing is removed.
    """
    in_folders, beside_manifests = _owned(index, sources)  # first, so that points indexed meanwhile are kept
    unknown: list[str] = []
    for photo in list_sources(sources, None, lambda entry: unknown.append(f"{entry.uri}/"), policy, options=options):
        in_folders.discard(photo.id)
    removed = 0
    for ids in batches(chain(in_folders, beside_manifests), REMOVAL_BATCH):
        gone = [
            point
            for point, payload in index.get(ids).items()
            if not payload.uri.startswith(tuple(unknown)) and (point in in_folders or _is_missing(payload.uri))
        ]
        index.delete(gone)
        removed += len(gone)
    index.flush()
    return removed


def _owned(index: VectorIndex, sources: Sequence[str]) -> tuple[set[uuid.UUID], set[uuid.UUID]]:
    """The ids of the points that belong to folders among the sources, and of those that belong to manifests only."""
    folders = [source for source in sources if is_folder(source)]
    owners = [store_of(folder).prefix(folder) for folder in folders]
    manifests = tuple(
        LocalStore().prefix(str(Path(source).parent))[0]
        for source in sources
        if source not in folders and not is_url(source)
    )
    in_folders, beside_manifests = set[uuid.UUID](), set[uuid.UUID]()
    for photo, payload in index.scroll_payloads():
        uri = payload.uri
        if any(uri.startswith(start) and uri.endswith(end) for start, end in owners):
            in_folders.add(photo)
        elif uri.startswith(manifests):
            beside_manifests.add(photo)
    return in_folders, beside_manifests


def _is_missing(uri: str) -> bool:
    """Whether a photo's file does not exist; False if its store can't be reached now."""
    try:
        store_of(uri).status(uri)
    except MissingPhoto:
        return True
    except UnreadablePhoto:
        pass
    return False
