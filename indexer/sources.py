"""The photos of several sources as one stream."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path

from indexer.source_uri import source_uri
from retrieval.listing import LabelFrom, list_photos, no_photos
from retrieval.listing_options import DEFAULT_OPTIONS, ListingOptions
from retrieval.listing_report import ListingReport
from retrieval.photo_ref import PhotoRef, is_url
from retrieval.source_policy import DEFAULT_POLICY, SourcePolicy
from retrieval.stores import OnSkipped


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
        name = source_uri(source)
        return (replace(photo, source=name) for photo in chain([first], photos))

    return chain.from_iterable([listed(source) for source in sources])


def lasting_name(source: str) -> str:
    """The name of a source that holds in every working directory: its absolute path, or its URL."""
    return source if is_url(source) else str(Path(source).absolute())
