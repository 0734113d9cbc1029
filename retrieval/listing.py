"""The photos of a source: of a folder or a manifest, on this machine or at a URL."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Literal

from retrieval.errors import BadSource
from retrieval.manifest import PhotoManifest, is_manifest
from retrieval.photo_ref import PhotoRef, display, is_url
from retrieval.source_policy import DEFAULT_POLICY, SourcePolicy
from retrieval.stores import OnSkipped, store_of

LabelFrom = Literal["folder", "manifest", "none"]


def list_photos(
    source: str | Path,
    label_from: LabelFrom = "folder",
    on_skipped: OnSkipped | None = None,
    policy: SourcePolicy = DEFAULT_POLICY,
) -> Iterator[PhotoRef]:
    """The photos of a folder or CSV/JSONL manifest, in a fixed order; see `PhotoStore.walk` and `PhotoManifest.photos`.

    Args:
        label_from: "none" for photos without labels, "manifest" to refuse a folder.
        on_skipped: called with each folder below the source that can't be listed, and each line of a manifest that
            names no photo.
        policy: whether the source, and the rows of a manifest, may be URLs.

    Raises:
        BadSource: the source can't be listed, a manifest has no column `path`, or, without `on_skipped`, a folder or
            line would be skipped.
    """
    source = str(source)
    if is_url(source) and not policy.allow_urls:
        raise BadSource(f"{display(source)} is a URL.", "Name a folder or manifest on this machine.")
    if _is_manifest(source):
        photos = PhotoManifest(source, policy).photos(on_skipped)
    elif label_from == "manifest":
        raise BadSource(f"{display(source)} is not a .csv or .jsonl manifest.", "Name one, or omit --label-from.")
    else:
        photos = store_of(source).walk(source, on_skipped)
    for photo in photos:
        yield photo if label_from != "none" else replace(photo, label=None)


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
            f"{display(path)} is neither a folder nor a .csv or .jsonl manifest.", "Name the folder that contains it."
        )
    if not path.is_file() and not path.is_dir():
        raise BadSource(f"{display(path)} does not exist or can't be reached.", "Check the name and your permissions.")
    return path.is_file()
