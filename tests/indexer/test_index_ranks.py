"""The numbers that texts get as ranks; `tests/contract/test_browse.py` tests the photos that have them."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from indexer.index_ranks import LARGEST, STEP, afresh, with_new

TEXTS = st.lists(st.lists(st.text(max_size=3), max_size=8), max_size=6)


def are_sorted(ranks: dict[str, int]) -> bool:
    return all(ranks[one] < ranks[other] for one, other in pairwise(sorted(ranks)))


@settings(max_examples=40, deadline=None)
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
