"""A job embeds photos again that look different to the decoder of this version, and looks at each photo once."""

import os
from dataclasses import replace
from pathlib import Path

import icc
import make
import numpy as np
import pytest

from indexer.batch import BatchIndexer
from retrieval.decoding.version import VERSION
from retrieval.index import Point, VectorIndex
from retrieval.photo_ref import PhotoRef, uri_of
from retrieval.stores import LocalStore


@pytest.fixture
def photos(tmp_path: Path) -> list[PhotoRef]:
    """A photo without a profile, and one with the profile of Display P3."""
    (tmp_path / "plain.jpg").write_bytes(make.encoded(make.photo("red")))
    profile = icc.rgb_profile(icc.DISPLAY_P3, icc.SRGB_CURVE)
    (tmp_path / "wide.jpg").write_bytes(make.encoded(make.photo("blue"), icc_profile=profile))
    return [PhotoRef(uri_of(tmp_path / name), "flower") for name in ("plain.jpg", "wide.jpg")]


def run(indexer: BatchIndexer, photos: list[PhotoRef]) -> tuple[int, int]:
    """The numbers of indexed and unchanged photos."""
    (outcome,) = indexer.run(photos)
    assert not outcome.failures
    return outcome.indexed, outcome.unchanged


def age(index: VectorIndex, photos: list[PhotoRef]) -> None:
    """Make the points of photos those of version 1, with another vector."""
    vector = np.eye(1, index.dimension, dtype=np.float32)[0]
    payloads = index.get([photo.id for photo in photos])
    index.upsert([Point(id, vector, replace(payload, decoder=None)) for id, payload in payloads.items()])


def versions(index: VectorIndex, photos: list[PhotoRef]) -> list[int | None]:
    payloads = index.get([photo.id for photo in photos])
    return [payloads[photo.id].decoder for photo in photos]


def test_only_a_photo_that_looks_different_is_embedded_again(
    indexer: BatchIndexer, index: VectorIndex, photos: list[PhotoRef], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(indexer, photos) == (2, 0)
    before = index.vectors([photo.id for photo in photos])
    age(index, photos)
    assert run(indexer, photos) == (1, 1)
    plain, wide = (index.vectors([photo.id])[photo.id] for photo in photos)
    np.testing.assert_allclose(wide, before[photos[1].id], atol=1e-6)
    assert plain[0] == pytest.approx(1)
    assert versions(index, photos) == [VERSION, VERSION]
    monkeypatch.setattr(LocalStore, "head", None)  # no photo is looked at twice
    assert run(indexer, photos) == (0, 2)


def test_a_photo_that_was_written_again_without_a_change_is_embedded_again(
    indexer: BatchIndexer, index: VectorIndex, photos: list[PhotoRef]
) -> None:
    run(indexer, photos)
    age(index, photos)
    for photo in photos:
        os.utime(photo.path, (1, 1))
    assert run(indexer, photos) == (2, 0)
    assert versions(index, photos) == [VERSION, VERSION]
    vector = index.vectors([photos[1].id])[photos[1].id]
    assert vector[0] < 0.99


def test_a_photo_that_moved_is_looked_at_afterwards(
    indexer: BatchIndexer, index: VectorIndex, photos: list[PhotoRef]
) -> None:
    run(indexer, photos)
    age(index, photos)
    path = photos[1].path
    moved = PhotoRef(uri_of(path.rename(path.with_name("moved.jpg"))), "flower")
    (outcome,) = indexer.run([moved])
    assert outcome.moved == 1
    assert versions(index, [photos[1]]) == [None]
    assert run(indexer, [moved]) == (1, 0)
    assert versions(index, [photos[1]]) == [VERSION]
