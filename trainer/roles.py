"""Columns of a manifest for evaluation, as in Open Metric Learning's format: `group`, `is_query` and `is_gallery`."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from retrieval.analysis.roles import Roles
from retrieval.errors import BadSource
from retrieval.photo_ref import PhotoRef, display
from retrieval.top_k import Positions

GROUP, IS_QUERY, IS_GALLERY = "group", "is_query", "is_gallery"
FLAGS = {"true": True, "1": True, "false": False, "0": False}  # also 1.0 and 0.0, as tables with empty cells have them


def roles_of(photos: Sequence[PhotoRef]) -> Roles:
    """Return the roles of the photos of a split; raise `BadSource` if a flag is neither true nor false.

    If no photo of the split has one of the columns `is_query` and `is_gallery`, all photos have that role; if some
    have it, an empty value means false. A photo without a `group` is a group by itself.
    """
    groups = [group_of(photo) for photo in photos]
    keys = [photo.uri if group is None else f"group {group}" for photo, group in zip(photos, groups, strict=True)]
    return Roles(
        queries=_with(IS_QUERY, photos),
        gallery=_with(IS_GALLERY, photos),
        groups=None if set(groups) == {None} else np.unique(keys, return_inverse=True)[1],
    )


def group_of(photo: PhotoRef) -> str | None:
    """Return the group of a photo; None if its manifest has none for it."""
    group = photo.extra.get(GROUP)
    return None if group is None else str(group)


def split_groups(photos: Iterable[PhotoRef]) -> list[str]:
    """Return the groups that have photos in several splits, sorted."""
    splits: dict[str, set[str | None]] = defaultdict(set)
    for photo in photos:
        if (group := group_of(photo)) is not None:
            splits[group].add(photo.split)
    return sorted(group for group, found in splits.items() if len(found) > 1)


def _with(column: str, photos: Sequence[PhotoRef]) -> Positions | None:
    """Return the positions of the photos that have a flag; None if none has the column."""
    if not any(column in photo.extra for photo in photos):
        return None
    return np.flatnonzero([_flag(photo, column) for photo in photos])


def _flag(photo: PhotoRef, column: str) -> bool:
    value = str(photo.extra.get(column, False)).lower()
    try:
        return FLAGS[value.removesuffix(".0")]
    except KeyError:
        raise BadSource(
            f"{column} of {display(photo.path)} is {display(value)!r}.", "Write true or false, or leave it empty."
        ) from None
