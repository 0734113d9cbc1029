"""The queues of photos to review."""

import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from disks import small_disk
from serving import fill_index

from indexer.excluded_contents import excluded_contents
from indexer.exclusions import exclude_photo
from indexer.gallery import Gallery
from indexer.jobs import IndexRequest, load_job
from indexer.review.job import run_review
from indexer.review.kept import keep_duplicate, kept_duplicates
from indexer.review.queues import Queued, find_queues, load_queues, save_queues
from indexer.review.reasons import reason_of
from indexer.review.waiting import waiting
from retrieval.bundle import Bundle
from retrieval.bundle_format import Part
from retrieval.cancellation import CancellationToken
from retrieval.errors import LookalikeError, NotFound
from retrieval.index import IndexStore, Payload, Point, VectorIndex
from retrieval.index.base import IndexedPhoto
from retrieval.parts import Parts
from retrieval.settings import Settings

PARTS = Parts([Part(name="kind", length=2, weight=0.5), Part(name="look", length=16, weight=0.5)])


def gallery(degrees: list[float], labels: list[str | None], looks: list[int] | None = None) -> Gallery:
    """Photos by the angle of their kind, and the number of their look."""
    angles = np.radians(degrees)
    kinds = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    look = np.eye(16)[looks or [*range(len(degrees))]]
    photos = [
        Payload(f"file:///{at}.jpg", label, f"{at:064x}", 10 + at, 10, 1, "t", "t") for at, label in enumerate(labels)
    ]
    ids = [uuid.UUID(int=at) for at in range(len(photos))]
    return Gallery(photos, (np.hstack([kinds, look]) / np.sqrt(2)).astype(np.float32), PARTS, ids)


def numbers(queue: list[Queued]) -> list[int]:
    return [photo.id.int for photo in queue]


def test_each_queue_has_its_photos() -> None:
    degrees = [0, 1, 2, 3, 90, 91, 92, 93, 1.5, 45, 46]
    labels = ["a", "a", "a", "b", "b", "b", "b", "b", None, None, None]
    found = find_queues(gallery(degrees, labels), None)
    assert numbers(found["mislabelled"]) == [3]
    assert (found["mislabelled"][0].label, found["mislabelled"][0].suggested) == ("b", "a")
    assert numbers(found["informative"])[0] in (9, 10)
    assert found["duplicates"] == []


def test_a_confident_suggestion_needs_most_of_the_votes() -> None:
    near = [float(at) for at in range(11)]
    found = find_queues(gallery([*near, 5.5, 88], ["a"] * 11 + [None, None]), None)
    first, *_ = found["unlabelled"]
    assert first.id.int == 11 and (first.suggested, first.share, first.margin, first.confidence) == ("a", 1, 1, 1)
    split = find_queues(gallery([*near, 5.5], ["a", "b"] * 5 + ["a", None]), None)
    assert split["unlabelled"] == []


def test_the_most_useful_photos_differ_from_each_other() -> None:
    unlabelled = gallery([0, 0.1, 0.2, 90, 90.1], [None] * 5)
    first, second, *_ = numbers(find_queues(unlabelled, None)["informative"])
    assert {first // 3, second // 3} == {0, 1}


def test_of_duplicates_the_largest_photo_is_kept() -> None:
    alike = gallery([0, 30, 60, 90], ["a"] * 4, looks=[0, 1, 0, 0])
    alike.photos[0] = replace(alike.photos[0], sha256=alike.photos[3].sha256)
    queue = find_queues(alike, None)["duplicates"]
    assert numbers(queue) == [0, 2] and {photo.duplicate_of for photo in queue} == {uuid.UUID(int=3)}
    assert [photo.score for photo in queue] == [None, 1.0]
    assert "same file" in reason_of(queue[0]) and "similarity 1.000" in reason_of(queue[1])


def test_an_index_of_one_photo_has_empty_queues() -> None:
    alone = find_queues(gallery([0], ["a"]), None)
    assert not any(alone.values())


def test_a_photo_waits_until_it_is_dealt_with(index: VectorIndex, settings: Settings) -> None:
    photos = [Payload(f"file:///{at}.jpg", "a", f"{at:064x}", 9, 9, 1, "t", "t") for at in range(4)]
    ids = [uuid.UUID(int=at + 1) for at in range(4)]
    vectors = np.eye(4, index.dimension, dtype=np.float32)
    index.upsert([Point(*one) for one in zip(ids, vectors, photos, strict=True)])
    queue = [Queued(id, "a", "b", 0.9, "a", 0.1) for id in ids]
    copies = [Queued(ids[1], "a", duplicate_of=ids[0]), Queued(ids[2], "a", duplicate_of=ids[0])]
    index.replace_payloads({ids[0]: replace(photos[0], label="b")})
    index.delete([ids[3]])
    assert [one.queued.id for one in waiting(index, queue, ())] == [ids[1], ids[2]]
    keep_duplicate(settings, ids[1], "a person")
    assert [one.queued.id for one in waiting(index, copies, kept_duplicates(settings))] == [ids[2]]
    keep_duplicate(settings, ids[1], None, kept=False)
    assert kept_duplicates(settings) == frozenset()
    index.delete([ids[0]])
    assert waiting(index, copies, ()) == []


def test_damaged_files_of_queues_are_recomputed_or_ignored(settings: Settings) -> None:
    save_queues(settings, "m", 3, {"mislabelled": [Queued(uuid.UUID(int=1), "a")]})
    assert load_queues(settings, "m").photos["mislabelled"] == [Queued(uuid.UUID(int=1), "a")]
    (settings.home / "review" / "m.json").write_text("{")
    with pytest.raises(NotFound, match="have not been computed yet"):
        load_queues(settings, "m")
    keep_duplicate(settings, uuid.UUID(int=1), None)
    with (settings.home / "review" / "kept.jsonl").open("a") as file:
        file.write('{"photo"')
    assert kept_duplicates(settings) == {uuid.UUID(int=1)}
    keep_duplicate(settings, uuid.UUID(int=2), None)
    assert kept_duplicates(settings) == {uuid.UUID(int=1), uuid.UUID(int=2)}, "after a line that was interrupted"


def test_on_a_full_disk_a_decision_is_refused_and_the_next_one_is_kept(settings: Settings, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8192) as disk:
        full = settings.model_copy(update={"home": disk})
        keep_duplicate(full, uuid.UUID(int=1), None)
        kept = disk / "review" / "kept.jsonl"
        kept.write_bytes(kept.read_bytes() + b" " * (4096 - 20 - kept.stat().st_size) + b"\n")
        (disk / "filling").write_bytes(b"x" * 4096)
        with pytest.raises(LookalikeError, match="can't be written"):
            keep_duplicate(full, uuid.UUID(int=2), None)
        (disk / "filling").unlink()
        keep_duplicate(full, uuid.UUID(int=3), None)
        assert kept_duplicates(full) == {uuid.UUID(int=1), uuid.UUID(int=3)}


def test_removing_one_of_two_identical_files_does_not_exclude_the_other(index: VectorIndex) -> None:
    photos = [Payload(f"file:///{at}.jpg", None, f"{7:064x}", 9, 9, 1, "t", "t") for at in range(2)]
    ids = [uuid.UUID(int=1), uuid.UUID(int=2)]
    vectors = np.eye(2, index.dimension, dtype=np.float32)
    index.upsert([Point(*one) for one in zip(ids, vectors, photos, strict=True)])
    exclude_photo(index, IndexedPhoto(ids[0], photos[0]))
    assert excluded_contents(index) == set()
    exclude_photo(index, IndexedPhoto(ids[1], photos[1]))
    assert excluded_contents(index) == {photos[0].sha256}


@pytest.mark.slow
def test_a_job_computes_the_queues(settings: Settings, store: IndexStore, bundle: Bundle, library) -> None:
    fill_index(settings, bundle, library)
    begun: list[str] = []
    run_review(settings, store, IndexRequest((), kind="review"), CancellationToken(), lambda job: begun.append(job.id))
    job = load_job(settings, begun[0])
    assert (job.kind, job.state, job.seen) == ("review", "done", 24)
    assert load_queues(settings, bundle.model_id).total == 24
