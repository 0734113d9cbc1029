"""Copies of a photo in several splits, which inflate the metrics of the validation and test splits."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.decoder import PhotoDecoder
from retrieval.images import ResizeRule
from retrieval.photo_ref import PhotoRef, display
from retrieval.top_k import top_k
from retrieval.wording import count_of
from trainer.splits import MIN_TO_SPLIT

# Near-identical photos are found by the correlation of colour thumbnails of 16 × 16 pixels. Nearly all copies with JPEG
# quality 30, half size or 20 % more brightness correlate at 0.98 or more. Of the 1.1 million pairs of 1,500 flower
# photos from Flickr, two correlate above 0.96, and both show the same scene; the next one, at 0.957, does not.
THUMBNAIL = ResizeRule(size=16, shorter_side=16, mode="squash")
NEAR_IDENTICAL = 0.96
MIN_SIDE = 64  # thumbnails of smaller photos, such as scanned digits and icons, correlate without being copies

EARLIER_SPLITS = {"val": ("train",), "test": ("train", "val")}
MAX_NAMES = 10
MOST_COMPARED = 10


@dataclass(frozen=True)
class Fingerprint:
    """Identifies copies of a photo."""

    sha256: str  # hex digest of the file
    area: int  # width times height of the photo, in pixels
    thumbnail: npt.NDArray[np.uint8] | None  # uint8 [16, 16, 3]; None for photos smaller than 64 px or of one colour


@dataclass(frozen=True)
class Duplicate:
    """A photo of the validation or test split that also occurs in an earlier split."""

    photo: PhotoRef
    original: PhotoRef  # the most similar photo of an earlier split
    similarity: float  # correlation of their thumbnails; 1 for identical files
    identical: bool

    def __str__(self) -> str:
        """Describe the pair in one line."""
        how = "identical" if self.identical else f"near-identical, {self.similarity:.3f}"
        return f"{_named(self.photo)} = {_named(self.original)} ({how})"

    def as_dict(self) -> dict[str, object]:
        """Return the pair as in `metrics.json`."""
        return {
            "photo": _described(self.photo),
            "original": _described(self.original),
            "similarity": round(self.similarity, 4),
            "identical": self.identical,
        }


def fingerprint(content: bytes, decoder: PhotoDecoder) -> Fingerprint:
    """Compute the fingerprint of an encoded photo; raise `UnreadablePhoto` if it can't be decoded."""
    decoded = decoder.read_pixels(content, THUMBNAIL)
    telling = min(decoded.width, decoded.height) >= MIN_SIDE and np.ptp(decoded.pixels) > 0
    area = decoded.width * decoded.height
    return Fingerprint(hashlib.sha256(content).hexdigest(), area, decoded.pixels if telling else None)


def find_duplicates(photos: Sequence[PhotoRef], fingerprints: Mapping[str, Fingerprint]) -> list[Duplicate]:
    """Find validation and test photos that also occur in an earlier split, the most similar first.

    The fingerprint of each photo is given by its URI.
    """
    found: list[Duplicate] = []
    for split, earlier in EARLIER_SPLITS.items():
        held_out = [photo for photo in photos if photo.split == split]
        seen = [photo for photo in photos if photo.split in earlier]
        if held_out and seen:
            found += _duplicates(held_out, seen, fingerprints)
    return sorted(found, key=lambda duplicate: (-duplicate.similarity, duplicate.photo.uri))


def united_copies(photos: Sequence[PhotoRef], fingerprints: Mapping[str, Fingerprint]) -> dict[str, str]:
    """Return the content by which the split of each photo is drawn, by URI: near-identical photos have the same one.

    It is the smallest sha256 of the photos that are near-identical, one to the next. Of each photo, the ten most
    similar ones are compared. A class of which fewer than six different photos would be left, as of products before the
    same background, is not changed, since it could not be split.
    """
    contents = {photo.uri: fingerprints[photo.uri].sha256 for photo in photos}
    united = {content: content for content in contents.values()}

    def root(content: str) -> str:
        while united[content] != content:
            content = united[content]
        return content

    telling = [photo for photo in photos if fingerprints[photo.uri].thumbnail is not None]
    if len(telling) > 1:
        scores, places = top_k(thumbnails := _centred(telling, fingerprints), thumbnails, k=MOST_COMPARED)
        for one, other in np.argwhere(scores >= NEAR_IDENTICAL):
            first, second = (root(contents[telling[place].uri]) for place in (one, places[one, other]))
            united[max(first, second)] = min(first, second)
    members: dict[str | None, set[str]] = defaultdict(set)
    for photo in photos:
        members[photo.label].add(root(contents[photo.uri]))
    splittable = {label for label, found in members.items() if len(found) >= MIN_TO_SPLIT}
    return contents | {photo.uri: root(contents[photo.uri]) for photo in photos if photo.label in splittable}


def warning(duplicates: Sequence[Duplicate]) -> str:
    """Return a warning that names the first duplicates."""
    lines = [str(duplicate) for duplicate in duplicates[:MAX_NAMES]]
    if len(duplicates) > MAX_NAMES:
        lines.append(f"… and {len(duplicates) - MAX_NAMES} more, which the report shows.")
    photos = count_of(len(duplicates))
    verb = "occurs" if len(duplicates) == 1 else "occur"
    inflated = f"Metrics are inflated: {photos} of the validation or test split also {verb} in an earlier split."
    return "\n  ".join([inflated, *lines])


def _duplicates(
    photos: Sequence[PhotoRef], gallery: Sequence[PhotoRef], fingerprints: Mapping[str, Fingerprint]
) -> Iterator[Duplicate]:
    identical = {fingerprints[photo.uri].sha256: photo for photo in reversed(gallery)}
    similar = dict(_most_similar(photos, gallery, fingerprints))
    for photo in photos:
        if original := identical.get(fingerprints[photo.uri].sha256):
            yield Duplicate(photo, original, 1.0, identical=True)
        elif photo in similar and similar[photo][1] >= NEAR_IDENTICAL:
            yield Duplicate(photo, *similar[photo], identical=False)


def _most_similar(
    photos: Sequence[PhotoRef], gallery: Sequence[PhotoRef], fingerprints: Mapping[str, Fingerprint]
) -> Iterator[tuple[PhotoRef, tuple[PhotoRef, float]]]:
    """Yield each photo with the most similar one of the gallery and their correlation."""
    photos = [photo for photo in photos if fingerprints[photo.uri].thumbnail is not None]
    gallery = [photo for photo in gallery if fingerprints[photo.uri].thumbnail is not None]
    if not photos or not gallery:
        return
    scores, positions = top_k(_centred(gallery, fingerprints), _centred(photos, fingerprints), k=1)
    for photo, score, position in zip(photos, scores[:, 0], positions[:, 0], strict=True):
        yield photo, (gallery[position], float(score))


def _centred(photos: Sequence[PhotoRef], fingerprints: Mapping[str, Fingerprint]) -> npt.NDArray[np.float32]:
    """Return mean-centred thumbnails of unit length, whose cosine is the correlation: float32 [photos, 768]."""
    thumbnails = np.array([fingerprints[photo.uri].thumbnail for photo in photos], np.float32).reshape(len(photos), -1)
    centred = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    unit: npt.NDArray[np.float32] = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return unit


def _named(photo: PhotoRef) -> str:
    return f"{photo.split} {display(photo.path)}"


def _described(photo: PhotoRef) -> dict[str, object]:
    return {"path": display(photo.path), "label": photo.label, "split": photo.split}
