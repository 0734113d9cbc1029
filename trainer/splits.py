"""Training, validation and test splits."""

import csv
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from retrieval.errors import BadSource
from retrieval.labels import normalized
from retrieval.photo_ref import PhotoRef, display, uri_of
from trainer.roles import group_of

SPLITS = ("train", "val", "test")
HELD_OUT = 0.15
FEWEST_HELD_OUT = 2  # photos of a class in the validation and in the test split, so that each has a match to find
MIN_TO_SPLIT = 6
DrawSplits = Callable[[list[PhotoRef], Mapping[str, str], int], list[PhotoRef]]  # photos, sha256 by URI, seed


def hashed_splits(
    photos: Iterable[PhotoRef], contents: Mapping[str, str], seed: int, *, known: Mapping[str, str] | None = None
) -> list[PhotoRef]:
    """Draw splits by the content of the photos: about 15 % for validation, 15 % for testing, the rest for training.

    A photo's split follows from sha256(seed, content), so that adding or removing a photo does not change the split of
    another one, and identical files are in one split. So are the photos of one `group` (a column of the manifest). A
    class of six or more photos gets at least two validation and two test photos, where there are fewer those with the
    next hashes; the photos of smaller classes are only used for training.

    Args:
        photos: with labels.
        contents: the sha256 of each photo's file, by URI.
        seed: selects one of many drawings.
        known: the splits of contents that were drawn before, which are kept.
    """
    photos, known = list(photos), known or {}
    units = _units(photos, contents)
    before = {units[photo.uri]: known[contents[photo.uri]] for photo in photos if contents[photo.uri] in known}
    drawn = dict(before)
    places = {unit: _place(unit, seed) for unit in units.values()}
    by_label: dict[str, list[str]] = defaultdict(list)
    for photo in photos:
        by_label[str(photo.label)].append(units[photo.uri])
    large = {label: members for label, members in by_label.items() if len(set(members)) >= MIN_TO_SPLIT}
    for unit in {unit for members in large.values() for unit in members}:
        drawn.setdefault(unit, _interval(places[unit]))
    for label in sorted(large):
        _top_up(sorted(set(large[label]), key=places.__getitem__), drawn, before)
    return [replace(photo, split=drawn.get(units[photo.uri], "train")) for photo in photos]


def _units(photos: Iterable[PhotoRef], contents: Mapping[str, str]) -> dict[str, str]:
    """Return the unit of each photo by URI: its group, its content, or what these are linked to by other photos.

    The photos of a unit have the same split: those of one group, identical files, and the groups of identical files.
    """
    linked: dict[str, str] = {}

    def unit_of(key: str) -> str:
        while key in linked:
            key = linked[key]
        return key

    for photo in photos:
        group, content = group_of(photo), unit_of(contents[photo.uri])
        if group is not None and (unit := unit_of(f"group {group}")) != content:
            linked[content] = unit
    return {photo.uri: unit_of(contents[photo.uri]) for photo in photos}


def _place(unit: str, seed: int) -> float:
    """A number in 0…1 that follows from the sha256 of a seed and a content or group."""
    digest = hashlib.sha256(f"{seed}\n{unit}".encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _interval(place: float) -> str:
    return "val" if place < HELD_OUT else "test" if place < 2 * HELD_OUT else "train"


def _top_up(units: Sequence[str], drawn: dict[str, str], kept: Collection[str]) -> None:
    """Move training units of a class, in the given order, to splits that have fewer than two; some are kept."""
    for split in ("val", "test"):
        missing = FEWEST_HELD_OUT - sum(drawn[unit] == split for unit in units)
        for unit in [unit for unit in units if drawn[unit] == "train" and unit not in kept][: max(0, missing)]:
            drawn[unit] = split


def stratified_splits(photos: Iterable[PhotoRef], contents: Mapping[str, str], seed: int) -> list[PhotoRef]:
    """Draw the splits of bundles that do not record them: 15 % of each class for validation, 15 % for testing.

    At least two photos of a class are validation photos and two are test photos, so that each has a match to find;
    classes with fewer than six photos are only used for training.
    """
    by_label: dict[str, list[PhotoRef]] = defaultdict(list)
    for photo in photos:
        by_label[str(photo.label)].append(photo)
    drawn = []
    for number, label in enumerate(sorted(by_label)):
        members = by_label[label]
        held_out = max(2, round(HELD_OUT * len(members))) if len(members) >= MIN_TO_SPLIT else 0
        names = ["val"] * held_out + ["test"] * held_out + ["train"] * (len(members) - 2 * held_out)
        order = np.random.default_rng([seed, number]).permutation(len(members))
        drawn += [replace(members[index], split=name) for index, name in zip(order, names, strict=True)]
    return sorted(drawn, key=lambda photo: photo.uri)


def hold_out_classes(photos: Iterable[PhotoRef], unseen: Collection[str], source: Path) -> list[PhotoRef]:
    """Make all photos of the unseen classes, and no others, the test split.

    The other classes keep their training and validation photos; their test photos are left out.

    Raises:
        BadSource: a class does not exist, or fewer than two classes are left for testing or for training.
    """
    photos = list(photos)
    classes = {photo.label for photo in photos if photo.label is not None}
    unknown = sorted(set(unseen) - classes)
    if unknown:
        raise BadSource(
            f"{display(source)} has no class {unknown[0]!r}.", f"Its classes are {', '.join(sorted(classes))}."
        )
    if len(set(unseen)) < 2:
        raise BadSource(
            f"With {next(iter(unseen))!r} as the only unseen class, every test photo would be of one class.",
            "Name at least two unseen classes.",
        )
    if len(classes - set(unseen)) < 2:
        raise BadSource(
            f"Fewer than two of the {len(classes)} classes of {display(source)} are left to train on.",
            "Name fewer unseen classes.",
        )
    tested = [replace(photo, split="test") for photo in photos if photo.label in unseen]
    kept = [photo for photo in photos if photo.label not in unseen and photo.split != "test"]
    return sorted(tested + kept, key=lambda photo: photo.uri)


def check_splits(photos: list[PhotoRef], source: Path) -> list[PhotoRef]:
    """Return the photos unchanged; raise `BadSource` if one has no split or an unknown one."""
    for photo in photos:
        if photo.split not in SPLITS:
            raise BadSource(
                f"{display(photo.path)} has the split {photo.split!r} in {display(source)}.",
                f"Give each photo one of the splits {', '.join(SPLITS)}, or remove all splits.",
            )
    return photos


def splits_from_file(
    photos: Iterable[PhotoRef], source: Path, file: Path, say: Callable[[str], None]
) -> list[PhotoRef]:
    """Return the photos that a CSV file `path,label,split` lists, with its splits.

    Paths in the file are relative to the data set. Reports how many photos the file does not list, and how many listed
    photos do not exist.

    Raises:
        BadSource: the file is unreadable, lacks a column, contradicts a label or lists none of the photos.
    """
    photos, listed = list(photos), _listed_in(file, source)
    chosen = []
    for photo in photos:
        if row := listed.get(uri_of(photo.path)):
            label, split = row
            if label and photo.label and normalized(label) != photo.label:
                raise BadSource(
                    f"{display(photo.path)} has two labels: {photo.label!r} in {display(source)}, "
                    f"{display(label)!r} in {display(file)}.",
                    "Correct one of them.",
                )
            chosen.append(replace(photo, split=split))
    if not chosen:
        raise BadSource(f"{display(file)} lists no photo of {display(source)}.", "Make its paths relative to the data.")
    if len(chosen) < len(photos):
        say(f"Photos left out because {display(file)} does not list them: {len(photos) - len(chosen)}.")
    if len(chosen) < len(listed):
        say(f"Photos that {display(file)} lists but {display(source)} does not have: {len(listed) - len(chosen)}.")
    return check_splits(chosen, file)


def _listed_in(file: Path, source: Path) -> dict[str, tuple[str, str]]:
    """Return label and split of each photo in a splits file, by URI."""
    root = source if source.is_dir() else source.parent
    listed: dict[str, tuple[str, str]] = {}
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            for row in csv.DictReader(lines):
                entry = (row["label"], row["split"])
                if listed.setdefault(uri_of(Path(root, os.path.normpath(row["path"]))), entry) != entry:
                    raise BadSource(f"{display(file)} lists {display(row['path'])} twice.", "List each photo once.")
    except OSError as error:
        raise BadSource(
            f"The splits file {display(file)} can't be read ({error.strerror}).", "Check its name."
        ) from None
    except (KeyError, TypeError, ValueError, csv.Error):
        raise BadSource(
            f"{display(file)} is not a CSV file with the columns path,label,split.", "Correct its first line."
        ) from None
    return listed
