"""Data sets of photos, split into training, validation and test photos."""

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from retrieval.analysis.copies import edited_copy
from retrieval.analysis.roles import EVERY_PHOTO, Roles
from retrieval.decoder import PhotoDecoder
from retrieval.errors import BadSource, LookalikeError, UnreadablePhoto
from retrieval.images import ResizeRule
from retrieval.labels import normalized
from retrieval.listing import LabelFrom, list_photos, no_photos
from retrieval.listing_options import DEFAULT_OPTIONS, ListingOptions
from retrieval.listing_report import ListingReport
from retrieval.photo_ref import PhotoRef, display
from retrieval.stores import read_file
from retrieval.wording import count_of
from trainer.datasets import locate
from trainer.indexed import IndexedPhotos
from trainer.labels import label_of
from trainer.recipes import Facts
from trainer.roles import roles_of, split_groups
from trainer.split_overlap import Fingerprint, fingerprint, united_copies
from trainer.splits import SPLITS, DrawSplits, check_splits, hashed_splits, hold_out_classes, splits_from_file

Say = Callable[[str], None]

MAX_NAMES = 10
MOST_UNLABELLED = 1_000
NO_LABELS_NEEDED = "Without labels, use `lookalike train --recipe pretrained`."


@dataclass(frozen=True)
class Dataset:
    """Readable photos, each with a split, and either each with a label or none."""

    name: str  # the name that the user gave, as one printable line
    digest: str  # sha256 over the content, label and split of each photo
    photos: tuple[PhotoRef, ...]  # sorted by URI
    fingerprints: Mapping[str, Fingerprint] = field(compare=False, repr=False)  # by URI; they find copies
    decoder: PhotoDecoder = field(default_factory=PhotoDecoder, compare=False, repr=False)

    @property
    def classes(self) -> list[str]:
        """The labels of all photos, sorted; empty if they have none."""
        return sorted({photo.label for photo in self.photos if photo.label is not None})

    @property
    def unseen_classes(self) -> list[str]:
        """The labels of the test split that the training split does not have, sorted."""
        labels = {split: {str(photo.label) for photo in self.photos if photo.split == split} for split in SPLITS}
        return sorted(labels["test"] - labels["train"])

    @property
    def counts(self) -> dict[str, int]:
        """Number of photos per split."""
        return dict(Counter(str(photo.split) for photo in self.photos))

    @property
    def held_out(self) -> list[str]:
        """The splits that are not trained on and have photos."""
        return [split for split in ("val", "test") if split in self.counts]

    @property
    def facts(self) -> Facts:
        """The properties of the training split that a recipe may depend on."""
        areas = [self.fingerprints[photo.uri].area for photo in self.split("train")]
        return Facts(examples=len(areas), area=float(np.median(areas)))

    def split(self, name: str) -> list[PhotoRef]:
        """Return the photos of one split; raise `LookalikeError` if it is empty."""
        photos = [photo for photo in self.photos if photo.split == name]
        if not photos:
            splits = ", ".join(f"{split} ({count})" for split, count in sorted(self.counts.items()))
            raise LookalikeError(f"{display(self.name)} has no photo in the split {name!r}.", f"It has {splits}.")
        return photos


@dataclass(frozen=True)
class LabelledImages:
    """Decoded photos."""

    images: npt.NDArray[np.uint8]  # [photos, size, size, 3]
    labels: npt.NDArray[np.str_]  # [photos], empty if the photos have no labels
    copies: npt.NDArray[np.uint8] | None = None  # an edited copy of each photo, as `images`
    roles: Roles = EVERY_PHOTO  # in evaluation


def load_dataset(
    data: str,
    home: Path,
    say: Say,
    *,
    splits: Path | None = None,
    seed: int = 0,
    unseen: Collection[str] = (),
    decoder: PhotoDecoder | None = None,
    draw: DrawSplits = hashed_splits,
    label_from: LabelFrom | None = None,
    needs_labels: bool = True,
    options: ListingOptions = DEFAULT_OPTIONS,
    indexed: IndexedPhotos | None = None,
) -> Dataset:
    """Find the photos of a data set, leave out unreadable ones, and split them.

    Without labels and given splits, at most 1,000 photos are used, drawn at random by the seed.

    Args:
        data: a folder with a folder per class, a CSV, JSONL or Parquet manifest, `tfds:NAME`, `digits` or `index:`.
        home: folder that caches the photos of `tfds:NAME` and `digits`.
        say: receives a message for each photo or group of photos that is left out.
        splits: a CSV file `path,label,split` with paths relative to the data set; overrides splits of a manifest.
        seed: seed of the splits, which are drawn if none are given.
        unseen: classes that are held out of training and validation; the test split has their photos and no others.
        decoder: photos that it refuses are left out; None for one with the default limits.
        draw: draws the splits, given photos, the sha256 of each by URI, and the seed.
        label_from: where labels come from; None: from folder names for folders, from the manifest for manifests, from
            the index for its photos.
        needs_labels: whether photos without labels are refused; if not, labels of fewer than two classes are ignored.
        options: which files of a folder are listed; the home never is.
        indexed: the photos of the index, with labels or without, if `data` is `index:`. Those that have changed since
            are left out. Near-identical ones get the same split.

    Raises:
        LookalikeError: there are no photos, no labels or fewer than two classes; a photo has two labels or two splits
            or is outside the manifest's folder; or an unseen class does not exist.
    """
    source = locate(data, home)
    if indexed is not None:
        listed = [replace(photo, label=None) for photo in indexed.photos] if label_from == "none" else indexed.photos
        remedy = "Label photos on their pages, or index them with labels."
    else:
        listed = _listed_in(source, label_from, replace(options, home=home), say)
        remedy = "Move them to a folder per class, or name a manifest with the columns path,label."
    photos = _with_labels(listed, source, needs_labels, remedy, say)
    if photos[0].label is None and splits is None and not any(photo.split for photo in photos):
        photos = _sample(photos, seed, say)
    if splits is not None:
        photos = splits_from_file(photos, source, splits, say)
    decoder = decoder or PhotoDecoder()
    fingerprints = _fingerprints(photos, decoder, say)
    if indexed is not None:
        fingerprints = _unchanged(fingerprints, indexed.contents, say)
    photos = sorted((photo for photo in photos if photo.uri in fingerprints), key=lambda photo: photo.uri)
    if not photos:
        raise BadSource(f"{display(data)} has no readable photos.", "Add photos.")
    if photos[0].label is not None and len({photo.label for photo in photos}) < 2:
        raise BadSource(
            f"{display(data)} has readable photos of fewer than two classes.",
            f"{'Label more photos.' if indexed else 'Add a folder of photos per class.'} {NO_LABELS_NEEDED}",
        )
    given = any(photo.split for photo in photos)
    roles_of(photos)  # reports wrong flags before photos are embedded
    if given:
        photos = check_splits(photos, source)
    else:
        contents = {uri: of_photo.sha256 for uri, of_photo in fingerprints.items()}
        photos = draw(photos, contents if indexed is None else united_copies(photos, fingerprints), seed)
    if unseen:
        photos = hold_out_classes(photos, {normalized(name) or name for name in unseen}, source)
    if several := split_groups(photos):
        say(f"Metrics are inflated: groups with photos in several splits: {_listed(several)}.")
    _report_label_conflicts(photos, fingerprints, say)
    lines = "".join(f"{fingerprints[photo.uri].sha256}\t{photo.label or ''}\t{photo.split}\n" for photo in photos)
    digest = hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
    return Dataset(display(data), digest, tuple(photos), fingerprints, decoder)


def check_trainable(dataset: Dataset, say: Say) -> None:
    """Check that triplets can be formed of the training photos, and that the validation split can be evaluated.

    Raises `LookalikeError` if either split has fewer than two classes or no class with two photos, or if no validation
    photo can be a query.
    """
    train = Counter(photo.label for photo in dataset.split("train"))
    val = [photo for photo in dataset.photos if photo.split == "val"]
    if len(train) < 2 or max(train.values()) < 2:
        raise LookalikeError(
            f"{display(dataset.name)} has too few photos to train on: triplets need two classes, "
            "at least one of them with two photos.",
            "Add photos.",
        )
    if len({photo.label for photo in val}) < 2 or not _has_queries(val):
        raise LookalikeError(
            f"{display(dataset.name)} has too few photos to validate on: it needs two classes with six photos each.",
            "Add photos, or define the splits with --splits.",
        )
    single = sorted(str(label) for label, count in train.items() if count == 1)
    for label in single[:MAX_NAMES]:
        say(f"The class {label} has one training photo, which is only used as a negative.")
    if len(single) > MAX_NAMES:
        say(f"So have {len(single) - MAX_NAMES} other classes.")
    for split in dataset.counts:
        missing = sorted(set(dataset.classes) - {str(photo.label) for photo in dataset.split(split)})
        if missing:
            say(f"The split {split} has no photo of {_listed(missing)}.")


def report_known_photos(dataset: Dataset, split: str, known: Mapping[str, str], say: Say) -> None:
    """Report photos of a bundle's training and validation splits that evaluation on a split leaves out or includes.

    Args:
        dataset: the photos to evaluate on.
        split: the split to evaluate on.
        known: the bundle's splits by the sha256 of a photo's file.
        say: receives the messages.
    """
    before = [(photo.split, known.get(dataset.fingerprints[photo.uri].sha256)) for photo in dataset.photos]
    used = [(now, then) for now, then in before if then in {"train", "val"} and then != split]
    included = sum(now == split for now, _ in used)
    if included:
        say(f"Metrics are inflated: the model was trained or selected on {included} of these photos.")
    is_new = len(before) > len(known) or any(then is None for _, then in before)
    if is_new and len(used) > included:
        say(f"Photos left out because the model was trained or selected on them: {len(used) - included}.")


def labels_of(photos: Iterable[PhotoRef]) -> npt.NDArray[np.str_]:
    """Return the labels of photos, str [photos]; empty for photos without one."""
    return np.array([photo.label or "" for photo in photos])


def read_all(
    photos: Sequence[PhotoRef],
    rule: ResizeRule,
    decoder: PhotoDecoder,
    *,
    file: Path | None = None,
    edited: bool = False,
) -> npt.NDArray[np.uint8]:
    """Decode and resize photos on several threads: uint8 [photos, size, size, 3].

    Args:
        photos: to read.
        rule: how to resize them.
        decoder: decodes them.
        file: holds the pixels, which are mapped into memory; None: they are in memory.
        edited: whether to read an edited copy of each photo instead, the same one each time.
    """
    shape = (len(photos), rule.size, rule.size, 3)
    pixels = np.empty(shape, np.uint8) if file is None else _mapped(file, shape)

    def read(index: int) -> None:
        photo = photos[index]
        content = read_copy(photo, decoder) if edited else read_file(photo.path, decoder.policy.max_bytes)
        pixels[index] = decoder.read_pixels(content, rule).pixels

    with ThreadPoolExecutor() as threads:
        list(threads.map(read, range(len(photos))))
    return pixels


def read_copy(photo: PhotoRef, decoder: PhotoDecoder) -> bytes:
    """Return an edited copy of a photo as a JPEG; the edits follow from the content of its file."""
    content = read_file(photo.path, decoder.policy.max_bytes)
    seed = int.from_bytes(hashlib.sha256(content).digest())
    return edited_copy(decoder.decode(content), np.random.default_rng(seed))


def _mapped(file: Path, shape: tuple[int, ...]) -> npt.NDArray[np.uint8]:
    """Map a new file of this shape into memory; its space is reserved, since writing to a full disk ends a process."""
    with file.open("wb") as created:
        os.posix_fallocate(created.fileno(), 0, math.prod(shape))
    return np.memmap(file, np.uint8, "r+", shape=shape)


def _has_queries(photos: Sequence[PhotoRef]) -> bool:
    """Whether one of these photos is a query with a match to find."""
    roles = roles_of(photos)
    matches = roles.matches(labels_of(photos))
    return bool((matches if roles.queries is None else matches[roles.queries]).any())


def _with_labels(photos: list[PhotoRef], source: Path, needs_labels: bool, remedy: str, say: Say) -> list[PhotoRef]:
    """Return the photos that have labels; if they are not needed and of fewer than two classes, all photos.

    In the latter case, the photos have no label. Raises `BadSource` with a remedy if labels are needed and missing.
    """
    labelled = [photo for photo in photos if label_of(photo, source)]
    if not needs_labels and len({photo.label for photo in labelled}) < 2:
        return [replace(photo, label=None) for photo in photos]
    if not labelled:
        raise BadSource(
            f"The photos of {display(source)} have no labels.",
            f"{remedy} {NO_LABELS_NEEDED}",
        )
    if len(labelled) < len(photos):
        hint = "" if needs_labels else " To use all photos, ignore the labels with --label-from none."
        say(f"{count_of(len(photos) - len(labelled))} without a label left out.{hint}")
    return labelled


def _listed_in(source: Path, label_from: LabelFrom | None, options: ListingOptions, say: Say) -> list[PhotoRef]:
    """Return the photos of a folder or manifest, of which there must be one; report what is skipped."""
    report = ListingReport()
    if source.is_dir():
        found = list_photos(
            source,
            label_from or "folder",
            lambda entry: say(f"Left out: {entry.reason}"),
            options=options,
            report=report,
        )
        photos = list(found)
    else:
        photos = _below(list_photos(source, label_from or "manifest", options=options, report=report), source)
    if not photos:
        raise no_photos(source, options=options)
    if report.conflicts:
        raise BadSource(report.conflicts[0], "List each photo once.")
    for notice in report.notices:
        say(notice)
    if report.skipped:
        say(f"Skipped: {report.summary()}.")
    return _with_splits(photos, say) if source.is_dir() else photos


def _with_splits(photos: list[PhotoRef], say: Say) -> list[PhotoRef]:
    """Return the photos in the folders of splits; all photos if the folders are not splits."""
    inside = [photo for photo in photos if photo.split]
    if inside and len(inside) < len(photos):
        say(f"Photos left out because they are not in the folder of a split: {len(photos) - len(inside)}.")
    return inside or photos


def _sample(photos: list[PhotoRef], seed: int, say: Say) -> list[PhotoRef]:
    if len(photos) <= MOST_UNLABELLED:
        return photos
    say(f"{MOST_UNLABELLED:,} of {len(photos):,} photos are used, drawn at random.")
    return [photos[place] for place in np.sort(np.random.default_rng(seed).permutation(len(photos))[:MOST_UNLABELLED])]


def _below(photos: Iterable[PhotoRef], manifest: Path) -> list[PhotoRef]:
    """Return the photos; raise `BadSource` if one is not in the manifest's folder or below it."""
    folder, found = os.path.realpath(manifest.parent), list(photos)
    for photo in found:
        if not photo.path.is_relative_to(folder):
            raise BadSource(
                f"{display(manifest)} names {display(photo.path)}, which is outside the manifest's folder.",
                "Move the manifest to a folder that contains all of its photos.",
            )
    return found


def _report_label_conflicts(photos: Iterable[PhotoRef], fingerprints: Mapping[str, Fingerprint], say: Say) -> None:
    """Report identical files with different labels."""
    first: dict[str, PhotoRef] = {}
    for photo in photos:
        copy = first.setdefault(fingerprints[photo.uri].sha256, photo)
        if copy.label != photo.label:
            one, other = (f"{display(of.path)} ({of.label})" for of in (copy, photo))
            say(f"Identical files have different labels: {one} and {other}.")


def _unchanged(fingerprints: dict[str, Fingerprint], contents: Mapping[str, str], say: Say) -> dict[str, Fingerprint]:
    """Return the fingerprints of files with the given contents, by URI: other files may show something else now."""
    same = {uri: found for uri, found in fingerprints.items() if found.sha256 == contents[uri]}
    if len(same) < len(fingerprints):
        changed = len(fingerprints) - len(same)
        say(f"Photos left out because their files have changed since they were indexed: {changed}.")
    return same


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    return shown if len(names) <= MAX_NAMES else f"{shown} and {len(names) - MAX_NAMES} others"


def _fingerprints(photos: Sequence[PhotoRef], decoder: PhotoDecoder, say: Say) -> dict[str, Fingerprint]:
    """Return the fingerprints of all readable photos by URI; report the others."""

    def read(photo: PhotoRef) -> Fingerprint | None:
        try:
            return fingerprint(read_file(photo.path, decoder.policy.max_bytes), decoder)
        except UnreadablePhoto as error:
            say(f"Left out: {display(photo.path)}. {error}")
        return None

    with ThreadPoolExecutor() as threads:
        found = zip(photos, threads.map(read, photos), strict=True)
        return {photo.uri: made for photo, made in found if made is not None}
