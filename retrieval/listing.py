"""The photos of a source: of a folder or a manifest, on this machine or at a URL."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from retrieval.errors import BadSource
from retrieval.listing_options import DEFAULT_OPTIONS, ListingOptions
from retrieval.listing_report import ListingReport
from retrieval.manifest import LISTED_SUFFIXES, PhotoManifest, is_manifest
from retrieval.photo_ref import PhotoRef, display, is_url
from retrieval.source_policy import DEFAULT_POLICY, SourcePolicy
from retrieval.stores import Failure, OnSkipped, store_of
from retrieval.walk import walk

LabelFrom = Literal["folder", "manifest", "none"]
SHOWN_FAILURES = 3


def list_photos(
    source: str | Path,
    label_from: LabelFrom = "folder",
    on_skipped: OnSkipped | None = None,
    policy: SourcePolicy = DEFAULT_POLICY,
    *,
    options: ListingOptions = DEFAULT_OPTIONS,
    report: ListingReport | None = None,
) -> Iterator[PhotoRef]:
    """The photos of a folder or manifest, in a fixed order; see `walk` and `PhotoManifest.photos`.

    Args:
        label_from: "none" for photos without labels, "manifest" to refuse a folder.
        on_skipped: called with each folder below the source that can't be listed, and each line of a manifest that
            names no photo.
        policy: whether the source, and the rows of a manifest, may be URLs.
        options: which files of a folder are listed.
        report: collects what was skipped, and notices.

    Raises:
        BadSource: the source can't be listed, a manifest has no column `path`, or, without `on_skipped`, a folder or
            line would be skipped.
    """
    source = str(source)
    if is_url(source) and not policy.allow_urls:
        raise BadSource(f"{display(source)} is a URL.", "Name a folder or manifest on this machine.")
    if _is_manifest(source):
        report = report or ListingReport()
        own = ListingReport(report.columns) if label_from == "none" else report  # without notices about labels
        photos = PhotoManifest(source, policy).photos(on_skipped, own)
    elif label_from == "manifest":
        raise BadSource(f"{display(source)} is not a {LISTED_SUFFIXES} manifest.", "Name one, or omit --label-from.")
    else:
        photos = walk(source, options, report, on_skipped)
    for photo in photos:
        yield photo if label_from != "none" else replace(photo, label=None, label_is_default=False)


def no_photos(
    source: str | Path, policy: SourcePolicy = DEFAULT_POLICY, options: ListingOptions = DEFAULT_OPTIONS
) -> BadSource:
    """The error that a source contains no photos, with what it contains instead; lists the source once more."""
    report, failures = ListingReport(), list[Failure]()
    for _ in list_photos(source, on_skipped=failures.append, policy=policy, options=options, report=report):
        break
    sentences = [f"{display(source)} contains no photos."]
    sentences += [f"Skipped: {report.summary()}."] if report.skipped else []
    sentences += [failure.reason for failure in failures[:SHOWN_FAILURES]]
    sentences += (
        [f"{len(failures) - SHOWN_FAILURES:,} more entries can't be used."] if len(failures) > SHOWN_FAILURES else []
    )
    return BadSource(" ".join(sentences), "Name a folder or manifest that does.")


def is_folder(source: str) -> bool:
    """Whether a source is a folder; raises `BadSource` if its store can't be reached."""
    return not (is_url(source) and is_manifest(source)) and store_of(source).is_folder(source)


def _is_manifest(source: str) -> bool:
    """Whether a source is a manifest; raises `BadSource` for a local one that is neither that nor a folder."""
    if is_url(source):
        return is_manifest(source)
    path = Path(source)
    if path.is_file() and not is_manifest(source):
        raise BadSource(
            f"{display(path)} is neither a folder nor a {LISTED_SUFFIXES} manifest.",
            "Name the folder that contains it.",
        )
    if not path.is_file() and not path.is_dir():
        raise BadSource(f"{display(path)} does not exist or can't be reached.", "Check the name and your permissions.")
    return path.is_file()
