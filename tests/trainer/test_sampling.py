from collections import Counter
from itertools import islice

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from trainer.recipes.components import Balanced, Shuffled
from trainer.sampling import balanced_batches, batches

class_sizes = st.lists(st.integers(1, 30), min_size=2, max_size=40)


@given(sizes=class_sizes, batch_size=st.integers(8, 96), seed=st.integers(0, 9))
def test_a_batch_is_balanced_over_several_classes(sizes: list[int], batch_size: int, seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    for batch in islice(balanced_batches(labels, batch_size, np.random.default_rng(seed)), 5):
        counts = Counter(labels[batch].tolist())
        assert len(batch) <= batch_size
        assert len(counts) == min(len(sizes), batch_size // 4)
        assert len({count for label, count in counts.items() if sizes[label] > 1}) <= 1
        assert all(count == 1 for label, count in counts.items() if sizes[label] == 1)


@given(sizes=st.lists(st.integers(2, 30), min_size=2, max_size=6), seed=st.integers(0, 9))
def test_photos_of_a_class_are_drawn_without_replacement(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    seen: Counter[int] = Counter()
    for batch in islice(balanced_batches(labels, 24, np.random.default_rng(seed)), 20):
        seen.update(batch.tolist())
    for label in range(len(sizes)):
        times = [seen[position] for position in np.flatnonzero(labels == label)]
        assert max(times) - min(times) <= 1


def test_batches_depend_on_the_seed_alone() -> None:
    labels = np.repeat(np.arange(4), 9)
    first, again, other = (next(balanced_batches(labels, 16, np.random.default_rng(seed))) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()


@given(photos=st.integers(1, 200), batch_size=st.integers(4, 96), seed=st.integers(0, 9))
def test_shuffled_batches_have_every_photo_once_per_pass(photos: int, batch_size: int, seed: int) -> None:
    made = batches(np.zeros(photos, int), Shuffled(batch_size), np.random.default_rng(seed))
    rounds = [np.concatenate(list(islice(made, -(-photos // batch_size)))) for _ in range(2)]
    assert all(sorted(one.tolist()) == list(range(photos)) for one in rounds)


def test_a_recipe_chooses_the_kind_of_batches() -> None:
    labels = np.repeat([0, 1], [30, 6])
    balanced = next(batches(labels, Balanced(12), np.random.default_rng(0)))
    shuffled = next(batches(labels, Shuffled(12), np.random.default_rng(0)))
    assert Counter(labels[balanced].tolist()) == {0: 6, 1: 6}
    assert len(set(shuffled.tolist())) == 12
