"""Which photos a network learns from (train), is chosen on (val) and is measured on (test)."""

import csv
import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from retrieval.errors import BadSource
from retrieval.photo_ref import PhotoRef, display, uri_of

SPLITS = ("train", "val", "test")
HELD_OUT = 0.15
FEWEST_TO_SPLIT = 6


def stratified_splits(photos: Iterable[PhotoRef], seed: int) -> list[PhotoRef]:
    """Draw splits class by class: 15 % for validation, 15 % for testing, the rest for training.

    A held-out part of a class has at least two photos, so that each has another to find; a class with fewer than six
    photos goes to training whole.
    """
    by_label: dict[str, list[PhotoRef]] = defaultdict(list)
    for photo in photos:
        by_label[str(photo.label)].append(photo)
    drawn = []
    for number, label in enumerate(sorted(by_label)):
        members = by_label[label]
        held_out = max(2, round(HELD_OUT * len(members))) if len(members) >= FEWEST_TO_SPLIT else 0
        names = ["val"] * held_out + ["test"] * held_out + ["train"] * (len(members) - 2 * held_out)
        order = np.random.default_rng([seed, number]).permutation(len(members))
        drawn += [replace(members[index], split=name) for index, name in zip(order, names, strict=True)]
    return sorted(drawn, key=lambda photo: photo.uri)


def tested_on_unseen(photos: Iterable[PhotoRef], unseen: Collection[str], source: Path) -> list[PhotoRef]:
    """Test on classes that training never sees: all of their photos, and no others, make the test split.

    The other classes keep their training and validation photos; their test photos are left out.

    Raises:
        BadSource: a class is unknown, or there are fewer than two to test on or to train on.
    """
    photos = list(photos)
    classes = {str(photo.label) for photo in photos}
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
    """The photos as they are, if each has one of the splits; raises `BadSource` otherwise."""
    for photo in photos:
        if photo.split not in SPLITS:
            raise BadSource(
                f"{display(photo.path)} has the split {photo.split!r} in {display(source)}.",
                f"Give each photo one of {', '.join(SPLITS)}, or none of them any.",
            )
    return photos


def splits_from_file(
    photos: Iterable[PhotoRef], source: Path, file: Path, say: Callable[[str], None]
) -> list[PhotoRef]:
    """The photos that a CSV file `path,label,split` names, with its splits; paths are relative to the data set.

    How many photos it does not name, and how many of those that it names are not there, is said.

    Raises:
        BadSource: the file can't be read, lacks a column or names none of the photos.
    """
    photos, named = list(photos), _named_in(file, source)
    chosen = []
    for photo in photos:
        if said := named.get(uri_of(photo.path)):
            label, split = said
            if label and display(label) != photo.label:
                raise BadSource(
                    f"{display(photo.path)} has two labels: {photo.label!r} in {display(source)}, "
                    f"{display(label)!r} in {display(file)}.",
                    "Correct one of them.",
                )
            chosen.append(replace(photo, split=split))
    if not chosen:
        raise BadSource(f"{display(file)} names no photo of {display(source)}.", "Its paths are relative to the data.")
    if len(chosen) < len(photos):
        say(f"Photos left out because {display(file)} does not name them: {len(photos) - len(chosen)}.")
    if len(chosen) < len(named):
        say(f"Photos that {display(file)} names and {display(source)} does not have: {len(named) - len(chosen)}.")
    return check_splits(chosen, file)


def _named_in(file: Path, source: Path) -> dict[str, tuple[str, str]]:
    """Label and split of each photo that a splits file names, by URI."""
    root = source if source.is_dir() else source.parent
    named: dict[str, tuple[str, str]] = {}
    try:
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
            for row in csv.DictReader(lines):
                said = (row["label"], row["split"])
                if named.setdefault(uri_of(Path(root, os.path.normpath(row["path"]))), said) != said:
                    raise BadSource(f"{display(file)} names {display(row['path'])} twice.", "Name each photo once.")
    except OSError as error:
        raise BadSource(
            f"The splits file {display(file)} can't be read ({error.strerror}).", "Check its name."
        ) from None
    except (KeyError, TypeError, ValueError, csv.Error):
        raise BadSource(
            f"{display(file)} is no CSV file with the columns path,label,split.", "Correct its first line."
        ) from None
    return named
