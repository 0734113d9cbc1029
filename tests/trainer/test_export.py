from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf

from retrieval.errors import LookalikeError
from trainer.backbones import BACKBONES
from trainer.export import check_parity, export_onnx, run_onnx
from trainer.network import build_network
from trainer.recipes import Head

IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[tf.keras.Model, Path]:
    embedder = build_network(BACKBONES["small_cnn"], "none", 16, Head()).whole()
    path = tmp_path_factory.mktemp("export") / "embedder.onnx"
    export_onnx(embedder, path)
    return embedder, path


def test_input_and_output_are_those_of_a_bundle(exported: tuple[tf.keras.Model, Path]) -> None:
    session = onnxruntime.InferenceSession(exported[1])
    (images,), (embeddings,) = session.get_inputs(), session.get_outputs()
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(uint8)", [32, 32, 3])
    assert (embeddings.name, embeddings.type, embeddings.shape[1:]) == ("embeddings", "tensor(float)", [16])
    for count in (1, 3):
        made = run_onnx(exported[1], IMAGES[:count])
        assert made.shape == (count, 16)
        assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)


def test_both_runtimes_agree(exported: tuple[tf.keras.Model, Path]) -> None:
    parity = check_parity(*exported, IMAGES)
    assert parity.photos == 5
    assert parity.min_cosine > 0.99999
    assert 0 <= parity.max_difference < 1e-3


def test_networks_that_disagree_are_refused(exported: tuple[tf.keras.Model, Path], tmp_path: Path) -> None:
    other = build_network(BACKBONES["small_cnn"], "none", 16, Head()).whole()
    with pytest.raises(LookalikeError, match="lowest cosine"):
        check_parity(other, exported[1], IMAGES)


def test_embeddings_that_are_no_numbers_are_refused(exported: tuple[tf.keras.Model, Path], tmp_path: Path) -> None:
    damaged = onnx.load(exported[1])
    weights = max(damaged.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = np.full(len(weights.raw_data) // 4, np.nan, np.float32).tobytes()
    onnx.save(damaged, tmp_path / "damaged.onnx")
    with pytest.raises(LookalikeError, match="lowest cosine"):
        check_parity(exported[0], tmp_path / "damaged.onnx", IMAGES)
