"""Photos that are in two splits: a network that has seen a photo in training finds it too easily when it is tested."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from retrieval.images import DEFAULT_MAX_PIXELS, ResizeRule, read_pixels
from retrieval.neighbours import exact_neighbours
from retrieval.photo_ref import PhotoRef, display

# Colour thumbnails of 16 × 16 pixels, each correlated with all others. Copies saved at JPEG quality 30, made half as
# large or a fifth brighter correlate at 0.98 and more, nearly all of them. Of 1.1 million pairs of 1,500 flower photos
# from Flickr, two correlate above 0.96, and both show one scene twice; the third, at 0.957, shows two flowers.
GLANCE = ResizeRule(size=16, shorter_side=16, mode="squash")
NEAR_IDENTICAL = 0.96
SMALLEST_SIDE = 64  # smaller pictures hold too little to tell a copy from a likeness: scanned digits, icons

EARLIER_SPLITS = {"val": ("train",), "test": ("train", "val")}
MOST_NAMED = 10


@dataclass(frozen=True)
class Fingerprint:
    """What tells whether two files hold one picture.

    Attributes:
        sha256: of the file.
        area: of the picture, in pixels.
        thumbnail: uint8 [16, 16, 3]; None where the picture is too small for it to say anything.
    """

    sha256: str
    area: int
    thumbnail: npt.NDArray[np.uint8] | None


@dataclass(frozen=True)
class Duplicate:
    """A photo of the validation or test split, and the most similar one of an earlier split.

    Attributes:
        photo: the one that is measured with.
        original: the one that was seen before.
        similarity: correlation of their thumbnails; 1 where the files are identical.
        identical: whether the files are.
    """

    photo: PhotoRef
    original: PhotoRef
    similarity: float
    identical: bool

    def __str__(self) -> str:
        """The pair in one line."""
        how = "identical" if self.identical else f"near-identical, {self.similarity:.3f}"
        return f"{_named(self.photo)} = {_named(self.original)} ({how})"

    def as_dict(self) -> dict[str, object]:
        """It as `metrics.json` keeps it."""
        return {
            "photo": _described(self.photo),
            "original": _described(self.original),
            "similarity": round(self.similarity, 4),
            "identical": self.identical,
        }


def fingerprint(content: bytes, max_pixels: int = DEFAULT_MAX_PIXELS) -> Fingerprint:
    """The fingerprint of an encoded photo; raises `UnreadablePhoto`."""
    decoded = read_pixels(content, GLANCE, max_pixels)
    large_enough = min(decoded.width, decoded.height) >= SMALLEST_SIDE
    area = decoded.width * decoded.height
    return Fingerprint(hashlib.sha256(content).hexdigest(), area, decoded.pixels if large_enough else None)


def find_duplicates(photos: Sequence[PhotoRef], fingerprints: Mapping[str, Fingerprint]) -> list[Duplicate]:
    """The photos held out for validation or test that an earlier split has too, the most similar first.

    Args:
        photos: each with its split.
        fingerprints: by URI.
    """
    found: list[Duplicate] = []
    for split, earlier in EARLIER_SPLITS.items():
        held_out = [photo for photo in photos if photo.split == split]
        seen = [photo for photo in photos if photo.split in earlier]
        if held_out and seen:
            found += _duplicates(held_out, seen, fingerprints)
    return sorted(found, key=lambda duplicate: (-duplicate.similarity, duplicate.photo.uri))


def warning(duplicates: Sequence[Duplicate]) -> str:
    """What the user should know of them."""
    lines = [str(duplicate) for duplicate in duplicates[:MOST_NAMED]]
    if len(duplicates) > MOST_NAMED:
        lines.append(f"… and {len(duplicates) - MOST_NAMED} more, which the report shows.")
    photos = "1 photo" if len(duplicates) == 1 else f"{len(duplicates)} photos"
    return "\n  ".join(
        [
            f"The figures flatter: {photos} of the validation or test split can be found in an earlier split, too.",
            *lines,
        ]
    )


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
    """Each photo with the most similar one of the gallery and the correlation of the two."""
    photos = [photo for photo in photos if fingerprints[photo.uri].thumbnail is not None]
    gallery = [photo for photo in gallery if fingerprints[photo.uri].thumbnail is not None]
    if not photos or not gallery:
        return
    scores, positions = exact_neighbours(_centred(gallery, fingerprints), _centred(photos, fingerprints), k=1)
    for photo, score, position in zip(photos, scores[:, 0], positions[:, 0], strict=True):
        yield photo, (gallery[position], float(score))


def _centred(photos: Sequence[PhotoRef], fingerprints: Mapping[str, Fingerprint]) -> npt.NDArray[np.float32]:
    """Their thumbnails less the mean of each, whose cosine is their correlation: float32 [photos, 768]."""
    thumbnails = np.array([fingerprints[photo.uri].thumbnail for photo in photos], np.float32).reshape(len(photos), -1)
    centred: npt.NDArray[np.float32] = thumbnails - thumbnails.mean(axis=1, keepdims=True)
    return centred


def _named(photo: PhotoRef) -> str:
    return f"{photo.split} {display(photo.path)}"


def _described(photo: PhotoRef) -> dict[str, object]:
    return {"path": display(photo.path), "label": photo.label, "split": photo.split}
