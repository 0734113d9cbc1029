"""A check of a source without a model: which photos are read, skipped or refused, at what size, and why."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from math import prod
from typing import Literal

from retrieval.decoder import PhotoDecoder
from retrieval.errors import UnreadablePhoto
from retrieval.listing import list_photos
from retrieval.listing_options import DEFAULT_OPTIONS, ListingOptions
from retrieval.listing_report import ListingReport
from retrieval.photo_ref import PhotoRef, display_uri
from retrieval.stores import Failure, read_photo

ENOUGH = 512  # pixels of the shorter side to which photos are decoded; networks need about as many
GROUP = 64  # photos that are checked at a time
MOST_REASONS = 100
OTHER = "other reasons"

Outcome = Literal["read", "skipped", "refused"]


@dataclass(slots=True)
class CheckReason:
    """Files that have something in common: those of one format, or those skipped or refused for one reason.

    `reason` is `format`, `reduced` or `profile` for photos that are read, that of the listing for skipped files, and
    `refused`. A photo that is read counts for its format, and for `reduced` if it has more pixels than are allowed, or
    for `profile` if its colour profile can't be used.
    """

    outcome: Outcome
    reason: str
    detail: str
    count: int
    example: str
    smallest: tuple[int, int] | None = None  # upright width and height, of a format
    largest: tuple[int, int] | None = None


@dataclass(slots=True)
class CheckReport:
    """What a check found."""

    read: int = 0
    skipped: int = 0
    refused: int = 0
    reasons: list[CheckReason] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Read:
    """A photo that is read."""

    uri: str
    format: str
    width: int
    height: int
    has_unusable_profile: bool


def check(source: str, decoder: PhotoDecoder, threads: int, options: ListingOptions = DEFAULT_OPTIONS) -> CheckReport:
    """Decode every photo of a folder or manifest.

    Raises `BadSource` if the source can't be listed.
    """
    report, listing, failures = CheckReport(), ListingReport(), list[Failure]()
    groups = _Groups(decoder.policy.max_pixels)
    photos = list_photos(source, "none", failures.append, decoder.policy, options=options, report=listing)
    for result in _results(photos, decoder, threads):
        if isinstance(result, Failure):
            failures.append(result)
        else:
            report.read += 1
            groups.add_read(result)
    for failure in failures:
        groups.add("refused", "refused", failure.reason, display_uri(failure.uri))
    report.refused, report.skipped = len(failures), listing.skipped
    skipped = [
        CheckReason("skipped", why.reason, why.detail, why.count, why.example) for why in listing.skipped_reasons
    ]
    report.reasons = [*groups.of("read"), *skipped, *groups.of("refused")]
    return report


def _results(photos: Iterator[PhotoRef], decoder: PhotoDecoder, threads: int) -> Iterator[_Read | Failure]:
    with ThreadPoolExecutor(threads) as pool:
        while group := list(islice(photos, GROUP)):
            yield from pool.map(lambda photo: _checked(photo, decoder), group)


def _checked(photo: PhotoRef, decoder: PhotoDecoder) -> _Read | Failure:
    try:
        data = read_photo(photo, decoder.policy.max_bytes)
        with decoder.open(data, ENOUGH) as opened:
            return _Read(photo.uri, opened.format.title, opened.width, opened.height, opened.profile.is_ignored)
    except UnreadablePhoto as error:
        return Failure(photo.uri, str(error))


class _Groups:
    """Counts files by outcome, reason and detail."""

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._groups: dict[tuple[Outcome, str, str], CheckReason] = {}

    def of(self, outcome: Outcome) -> list[CheckReason]:
        """The groups of an outcome, the most frequent first."""
        return sorted((why for why in self._groups.values() if why.outcome == outcome), key=lambda why: -why.count)

    def add(self, outcome: Outcome, reason: str, detail: str, example: str) -> CheckReason:
        """Count a file."""
        if (outcome, reason, detail) not in self._groups and len(self._groups) >= MOST_REASONS:
            detail = OTHER
        new = CheckReason(outcome, reason, detail, 0, example)
        group = self._groups.setdefault((outcome, reason, detail), new)
        group.count += 1
        return group

    def add_read(self, photo: _Read) -> None:
        """Count a photo that is read."""
        size, example = (photo.width, photo.height), display_uri(photo.uri)
        group = self.add("read", "format", photo.format, example)
        group.smallest = min(group.smallest or size, size, key=prod)
        group.largest = max(group.largest or size, size, key=prod)
        if prod(size) > self._max_pixels:
            self.add("read", "reduced", f"more than {self._max_pixels:,} pixels, decoded at a reduced size", example)
        if photo.has_unusable_profile:
            self.add("read", "profile", "the colour profile is damaged or for other photos, and ignored", example)
