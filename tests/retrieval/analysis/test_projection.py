import numpy as np
import pytest

from retrieval.analysis.projection import project_2d


def clusters(count: int, per_cluster: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = np.repeat(np.eye(64, dtype=np.float32)[:count], per_cluster, axis=0)
    vectors = centres + rng.normal(size=centres.shape).astype(np.float32) * 0.05
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize("options", [{}, {"components": 32, "iterations": 500, "angle": 0.7}])
def test_neighbours_stay_neighbours(options: dict[str, float]) -> None:
    positions = project_2d(clusters(5, 40), **options)
    assert positions.shape == (200, 2) and positions.dtype == np.float32
    assert positions.min() == 0 and positions.max() == 1
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=2)
    nearest = np.argsort(distances, axis=1)[:, 1:11] // 40
    assert (nearest == np.arange(200)[:, None] // 40).mean() > 0.99


@pytest.mark.parametrize("count", [1, 2, 4, 5, 7])
def test_a_few_photos_are_projected_too(count: int) -> None:
    positions = project_2d(clusters(count, 1))
    assert positions.shape == (count, 2) and np.isfinite(positions).all()


def test_equal_embeddings_are_projected_too() -> None:
    assert np.isfinite(project_2d(np.ones((8, 4), np.float32) / 2)).all()
