"""Labelled photos in splits: what a network learns from, is chosen on and is measured on."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval.errors import BadSource, LookalikeError, UnreadablePhoto
from retrieval.images import DEFAULT_MAX_PIXELS, ResizeRule, read_pixels
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef, display
from retrieval.stores import read_file
from trainer.datasets import locate
from trainer.recipes import Facts
from trainer.split_overlap import Fingerprint, fingerprint
from trainer.splits import SPLITS, check_splits, splits_from_file, stratified_splits, tested_on_unseen

Say = Callable[[str], None]

MOST_NAMED = 10


@dataclass(frozen=True)
class Dataset:
    """Photos that can be read, each with a label and a split.

    Attributes:
        name: how the user named it, as one printable line.
        digest: sha256 over the content, label and split of each photo.
        photos: all of them, sorted by URI.
        fingerprints: by URI; they tell which photos are copies of each other.
        max_pixels: photos are not larger.
    """

    name: str
    digest: str
    photos: tuple[PhotoRef, ...]
    fingerprints: Mapping[str, Fingerprint] = field(compare=False, repr=False)
    max_pixels: int = DEFAULT_MAX_PIXELS

    @property
    def classes(self) -> list[str]:
        """The labels in use, sorted."""
        return sorted({str(photo.label) for photo in self.photos})

    @property
    def unseen_classes(self) -> list[str]:
        """The labels that are tested on and not trained on, sorted."""
        labels = {split: {str(photo.label) for photo in self.photos if photo.split == split} for split in SPLITS}
        return sorted(labels["test"] - labels["train"])

    @property
    def counts(self) -> dict[str, int]:
        """Photos per split."""
        return dict(Counter(str(photo.split) for photo in self.photos))

    @property
    def facts(self) -> Facts:
        """What a recipe may depend on."""
        areas = [self.fingerprints[photo.uri].area for photo in self.split("train")]
        return Facts(examples=len(areas), area=float(np.median(areas)))

    def split(self, name: str) -> list[PhotoRef]:
        """The photos of one split; raises `LookalikeError` where it has none."""
        photos = [photo for photo in self.photos if photo.split == name]
        if not photos:
            splits = ", ".join(f"{split} ({count})" for split, count in sorted(self.counts.items()))
            raise LookalikeError(f"{display(self.name)} has no photo in the split {name!r}.", f"It has {splits}.")
        return photos


def load_dataset(
    data: str,
    home: Path,
    say: Say,
    *,
    splits: Path | None = None,
    seed: int = 0,
    unseen: Collection[str] = (),
    max_pixels: int = DEFAULT_MAX_PIXELS,
) -> Dataset:
    """Find the photos of a data set, leave out those that can't be read, and split them.

    Args:
        data: a folder with a folder per class, a CSV/JSONL manifest, `tfds:NAME` or `digits`.
        home: where the photos of `tfds:NAME` and `digits` are kept.
        say: takes one message for each photo or group of photos that is left out.
        splits: a CSV file `path,label,split`, paths relative to the data set; takes precedence over a manifest's.
        seed: of the stratified splits, which are drawn where none are given.
        unseen: classes to test on alone, all of their photos, which training then never sees.
        max_pixels: larger photos are left out.

    Raises:
        LookalikeError: there are no photos, no labels or fewer than two classes, a photo has two labels or two splits
            or lies outside the manifest's folder, or an unseen class is not there.
    """
    source = locate(data, home)
    photos = _once_each(_labelled(source, say), source)
    if splits is not None:
        photos = splits_from_file(photos, source, splits, say)
    fingerprints = _fingerprints(photos, max_pixels, say)
    photos = sorted((photo for photo in photos if photo.uri in fingerprints), key=lambda photo: photo.uri)
    if len({photo.label for photo in photos}) < 2:
        raise BadSource(
            f"{display(data)} has readable photos of fewer than two classes.", "Give it a folder of photos per class."
        )
    given = any(photo.split for photo in photos)
    photos = check_splits(photos, source) if given else stratified_splits(photos, seed)
    if unseen:
        photos = tested_on_unseen(photos, unseen, source)
    _tell_of_pictures_with_two_labels(photos, fingerprints, say)
    lines = "".join(f"{fingerprints[photo.uri].sha256}\t{photo.label}\t{photo.split}\n" for photo in photos)
    digest = hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
    return Dataset(display(data), digest, tuple(photos), fingerprints, max_pixels)


def check_trainable(dataset: Dataset, say: Say) -> None:
    """Make sure that triplets can be formed of the training photos, and that there is something to choose on.

    Raises:
        LookalikeError: fewer than two classes to train on, none with two photos, or no class to validate on.
    """
    train = Counter(photo.label for photo in dataset.split("train"))
    val = Counter(photo.label for photo in dataset.photos if photo.split == "val")
    if len(train) < 2 or max(train.values()) < 2:
        raise LookalikeError(
            f"{display(dataset.name)} has too few photos to train on: triplets need two classes, "
            "and two photos of at least one of them.",
            "Add photos.",
        )
    if len(val) < 2 or max(val.values()) < 2:
        raise LookalikeError(
            f"{display(dataset.name)} has too few photos to validate on: it needs two classes with six photos each.",
            "Add photos, or give splits of your own with --splits.",
        )
    for label in sorted(str(label) for label, count in train.items() if count == 1):
        say(f"The class {label} has one photo to train on: it is used as a negative only.")
    for split in dataset.counts:
        missing = sorted(set(dataset.classes) - {str(photo.label) for photo in dataset.split(split)})
        if missing:
            say(f"The split {split} has no photo of {_listed(missing)}.")


def labels_of(photos: Iterable[PhotoRef]) -> npt.NDArray[np.str_]:
    """Their labels, as an array."""
    return np.array([str(photo.label) for photo in photos])


def read_all(
    photos: Sequence[PhotoRef], rule: ResizeRule, max_pixels: int = DEFAULT_MAX_PIXELS
) -> npt.NDArray[np.uint8]:
    """The pixels of all photos, decoded on threads: uint8 [photos, size, size, 3]."""
    pixels = np.empty((len(photos), rule.size, rule.size, 3), np.uint8)

    def read(index: int) -> None:
        pixels[index] = read_pixels(read_file(photos[index].path), rule, max_pixels).pixels

    with ThreadPoolExecutor() as threads:
        list(threads.map(read, range(len(photos))))
    return pixels


def _labelled(source: Path, say: Say) -> list[PhotoRef]:
    if source.is_dir():
        photos = list(list_photos(source, "folder", lambda entry: say(f"Left out: {entry.reason}")))
    else:
        photos = _below(list_photos(source, "manifest"), source)
    if not photos:
        raise BadSource(f"{display(source)} holds no photo.", "Give it a folder of photos for each class.")
    labelled = [photo for photo in photos if photo.label and not _outside_class_folders(photo, source)]
    if not labelled:
        raise BadSource(
            f"The photos of {display(source)} have no labels.",
            "Put them into a folder per class, or name a manifest with the columns path,label.",
        )
    if len(labelled) < len(photos):
        say(f"{len(photos) - len(labelled)} photos without a label are left out.")
    return [replace(photo, label=display(str(photo.label))) for photo in labelled]


def _below(photos: Iterable[PhotoRef], manifest: Path) -> list[PhotoRef]:
    """The photos, all of which lie in the manifest's folder or below it; raises `BadSource` otherwise."""
    folder, found = os.path.realpath(manifest.parent), list(photos)
    for photo in found:
        if not photo.path.is_relative_to(folder):
            raise BadSource(
                f"{display(manifest)} names {display(photo.path)}, which lies outside the manifest's folder.",
                "Put the manifest into a folder that all of its photos are below.",
            )
    return found


def _once_each(photos: Iterable[PhotoRef], source: Path) -> list[PhotoRef]:
    """Each photo once, however often a manifest names it; raises `BadSource` where it has two labels or splits."""
    by_uri: dict[str, PhotoRef] = {}
    for photo in photos:
        first = by_uri.setdefault(photo.uri, photo)
        for kind, one, other in (("label", first.label, photo.label), ("split", first.split, photo.split)):
            if one != other:
                raise BadSource(
                    f"{display(photo.path)} has two {kind}s in {display(source)}, {one!r} and {other!r}.",
                    "Name each photo once.",
                )
    return list(by_uri.values())


def _tell_of_pictures_with_two_labels(
    photos: Iterable[PhotoRef], fingerprints: Mapping[str, Fingerprint], say: Say
) -> None:
    """Say which files are copies of each other and have different labels."""
    first: dict[str, PhotoRef] = {}
    for photo in photos:
        copy = first.setdefault(fingerprints[photo.uri].sha256, photo)
        if copy.label != photo.label:
            one, other = (f"{display(of.path)} ({of.label})" for of in (copy, photo))
            say(f"One picture has two labels: {one} and {other}.")


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_NAMED])
    return shown if len(names) <= MOST_NAMED else f"{shown} and {len(names) - MOST_NAMED} others"


def _outside_class_folders(photo: PhotoRef, source: Path) -> bool:
    return source.is_dir() and str(photo.path.parent) == os.path.realpath(source)


def _fingerprints(photos: Sequence[PhotoRef], max_pixels: int, say: Say) -> dict[str, Fingerprint]:
    """The fingerprint of each photo that can be decoded, by URI; the others are said."""

    def read(photo: PhotoRef) -> Fingerprint | None:
        try:
            return fingerprint(read_file(photo.path), max_pixels)
        except UnreadablePhoto as error:
            say(f"Left out: {display(photo.path)}. {error}")
        return None

    with ThreadPoolExecutor() as threads:
        found = zip(photos, threads.map(read, photos), strict=True)
        return {photo.uri: made for photo, made in found if made is not None}
