"""The labels of photos, and whether they name kinds: the folders of a photo library often name dates."""

import calendar
import os
import re
from collections import Counter
from pathlib import Path

from retrieval.listing import list_photos
from retrieval.listing_options import DEFAULT_OPTIONS, ListingOptions
from retrieval.photo_ref import PhotoRef

DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])?(0[1-9]|[12]\d|3[01])?")  # 2024, 202405, 20240517
MONTH, DAY = re.compile(r"0[1-9]|1[0-2]"), re.compile(r"0[1-9]|[12]\d|3[01]")
MONTHS = frozenset(name.lower() for name in (*calendar.month_name, *calendar.month_abbr) if name)
SEPARATORS = re.compile(r"[\s._,-]+")


def label_of(photo: PhotoRef, source: Path) -> str | None:
    """Return the label of a photo; None if it has none, or is directly in the folder that is the source."""
    is_outside = source.is_dir() and str(photo.path.parent) == os.path.realpath(source)
    return None if is_outside else photo.label


def names_kinds(source: Path, options: ListingOptions = DEFAULT_OPTIONS) -> bool:
    """Whether most photos of a folder or manifest have labels, at least two different ones, that are not all dates.

    Raises:
        BadSource: the source can't be listed.
    """
    photos = list(list_photos(source, on_skipped=lambda _: None, options=options))
    labels = Counter(label for photo in photos if (label := label_of(photo, source)) is not None)
    return len(labels) > 1 and 2 * labels.total() > len(photos) and not all(map(is_date, labels))


def is_date(name: str) -> bool:
    """Whether a name is that of a year, a month or a day with its month: 2024, 2024-05, 20240517, 05, 17 May 2024."""
    words = [word for word in SEPARATORS.split(name.lower()) if word]
    if len(words) == 1 and MONTH.fullmatch(words[0]):
        return True
    named = [word for word in words if word in MONTHS or DATE.fullmatch(word)]
    return bool(named) and all(word in named or DAY.fullmatch(word) for word in words)
