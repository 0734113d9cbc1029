"""Ranks: the numbers that texts get, and when jobs write them; `tests/contract/test_browse.py` sorts photos by them."""

from itertools import pairwise
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from indexer import index_ranks
from indexer.index_ranks import LARGEST, STEP, afresh, renew_ranks, with_new
from indexer.jobs import IndexRequest
from indexer.runner import run_job
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.index import IndexStore, VectorIndex
from retrieval.index_order import has_ranks
from retrieval.photo_ref import file_name
from retrieval.settings import Settings

TEXTS = st.lists(st.lists(st.text(max_size=3), max_size=8), max_size=6)


def are_sorted(ranks: dict[str, int]) -> bool:
    return all(ranks[one] < ranks[other] for one, other in pairwise(sorted(ranks)))


@hypothesis.settings(max_examples=40, deadline=None)
@given(TEXTS)
def test_new_texts_get_ranks_between_the_others(jobs: list[list[str]]) -> None:
    ranks: dict[str, int] = {}
    for texts in jobs:
        before = dict(ranks)
        found = with_new(dict.fromkeys(texts) | before)
        assert found is not None and found.items() >= before.items() and found.keys() == {*before, *texts}
        ranks = found
        assert are_sorted(ranks) and afresh(ranks).keys() == ranks.keys() and are_sorted(afresh(ranks))


def test_a_gap_has_space_for_many_jobs_that_add_photos_in_the_same_place() -> None:
    ranks: dict[str, int] = {"a": 0, "b": STEP}
    for job in range(100):
        found = with_new(ranks | dict.fromkeys(f"a{job:03}-{number:03}" for number in range(10)))
        assert found is not None and are_sorted(found)
        ranks = found
    for known in ({"a": 0, "b": None, "c": 1}, {"a": 1, "b": 0}, {"a": LARGEST, "b": None}, {"a": None, "b": -LARGEST}):
        assert with_new(known) is None


def ranks_of(index: VectorIndex) -> dict[str, dict[str, int]]:
    return {file_name(photo.uri): photo.ranks for _, photo in index.scroll_payloads()}


def test_a_job_gives_ranks_to_photos_that_have_none_or_another_name(
    settings: Settings,
    store: IndexStore,
    bundle: Bundle,
    index: VectorIndex,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run() -> None:
        run_job(settings, store, IndexRequest([str(tmp_path)], bundle.folder), CancellationToken(), lambda _: None)

    (tmp_path / "rose").mkdir()
    for number, name in enumerate(("b.jpg", "c.jpg")):
        Image.new("RGB", (60, 40), (200, 90 * number, 30)).save(tmp_path / "rose" / name)
    run()
    assert ranks_of(index) == {"b.jpg": {}, "c.jpg": {}} and not has_ranks(index), "the index is small"
    monkeypatch.setattr(index_ranks, "FEWEST_PHOTOS", 1)
    renew_ranks(index, CancellationToken(lambda: True))
    assert ranks_of(index) == {"b.jpg": {}, "c.jpg": {}} and not has_ranks(index), "it was cancelled"
    run()
    before = ranks_of(index)
    assert has_ranks(index) and before["b.jpg"]["name"] < before["c.jpg"]["name"]
    assert before["b.jpg"]["label"] == before["c.jpg"]["label"]
    (tmp_path / "rose" / "c.jpg").rename(tmp_path / "rose" / "a.jpg")
    run()
    after = ranks_of(index)
    assert after["a.jpg"]["name"] < after["b.jpg"]["name"] == before["b.jpg"]["name"]
    monkeypatch.setattr(index, "scroll_payloads", lambda: pytest.fail("all photos have ranks"))
    renew_ranks(index)
