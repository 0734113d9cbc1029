"""The job that trains a model on the photos of the index."""

import uuid
from dataclasses import replace
from pathlib import Path

import make
import pytest
from serving import fill_index

from indexer import training
from indexer.jobs import IndexRequest, TrainingOptions, load_job, start_record
from indexer.training import index_beside
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.index import IndexStore, Point
from retrieval.settings import Settings


@pytest.fixture
def other(tmp_path: Path) -> Bundle:
    """A bundle of another model."""
    return make.bundle(tmp_path / "other", dimension=8, seed=7)


def test_a_new_model_is_indexed_beside_the_current_one(
    settings: Settings, store: IndexStore, bundle: Bundle, other: Bundle, library: Path
) -> None:
    fill_index(settings, bundle, library)
    moved = uuid.uuid4()
    with store.open(bundle.model_id, bundle.dimension) as index:
        points = list(index.scroll())
        former, corrected = points[0], points[1]
        index.delete([former.id])
        index.upsert([Point(moved, former.vector, replace(former.payload, also_at=("file:///link.jpg",)))])
        payload = replace(corrected.payload, label="violet", extra={"price": 3}, sources=("file:///a/", "file:///b/"))
        index.replace_payloads({corrected.id: payload})
        known = dict(index.scroll_payloads())
    request = IndexRequest((), other.folder, kind="train", training=TrainingOptions())
    record = start_record(settings, request, model="")
    index_beside(settings, store, request, other, record, CancellationToken(), lambda _: None)
    job = load_job(settings, record.job.id)
    assert (job.state, job.seen, job.indexed, job.failed, job.model) == ("done", 24, 24, 0, other.model_id)
    assert store.current() == bundle.model_id
    with store.open(other.model_id, other.dimension) as index:
        assert {id: replace(one, indexed_at="", decoder=None) for id, one in index.scroll_payloads()} == {
            id: replace(one, indexed_at="", decoder=None) for id, one in known.items()
        }
    assert job.comparison is not None and job.comparison.before is not None
    assert (job.comparison.after.model, job.comparison.before.model) == (other.model_id, bundle.model_id)
    assert job.comparison.after.photos == job.comparison.before.photos == 24


def test_photos_that_were_learned_are_no_queries(
    settings: Settings, store: IndexStore, bundle: Bundle, other: Bundle, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for model in (bundle, other):
        fill_index(settings, model, library)
    with store.open(bundle.model_id, 16) as index, store.open(other.model_id, 8) as new:
        contents = [payload.sha256 for _, payload in index.scroll_payloads()]
        splits = dict.fromkeys(contents[:10], "train") | dict.fromkeys(contents[10:16], "val")
        monkeypatch.setattr(Bundle, "photo_splits", lambda _: splits | dict.fromkeys(contents[16:], "test"))
        found = training.compare(new, other, index, bundle)
        assert found.held_out and (found.after.photos, found.after.queries, found.before.queries) == (24, 8, 8)
        monkeypatch.setattr(Bundle, "photo_splits", lambda _: dict.fromkeys(contents, "train"))
        found = training.compare(new, other, index, bundle)
        assert not found.held_out and found.after.queries == 24
