from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
from commands import Command
from disks import small_disk
from exported import Export
from tf2onnx import optimizer

from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.backbones import BACKBONES, backbone_named
from trainer.export import check_parity, export_onnx, run_onnx
from trainer.network import build_network, initialize_batch_norm
from trainer.recipes import Head
from trainer.recipes.components import MeanCentred
from trainer.recipes.recipe import AnyHead

DISK_BYTES, ROOM_BYTES = 1 << 20, 1 << 17  # small_cnn takes more
IMAGES = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[tf.keras.Model, Path]:
    network = build_network(BACKBONES["small_cnn"], "none", 16, Head())
    path = tmp_path_factory.mktemp("export") / "embedder.onnx"
    export_onnx(network, path)
    return network.whole(), path


def test_input_and_outputs_are_those_of_a_bundle(exported: tuple[tf.keras.Model, Path]) -> None:
    session = onnxruntime.InferenceSession(exported[1])
    (images,), (embeddings, regions) = session.get_inputs(), session.get_outputs()
    (explain,) = session.get_overridable_initializers()
    assert (explain.name, explain.type) == ("explain", "tensor(bool)")
    assert (images.name, images.type, images.shape[1:]) == ("images", "tensor(uint8)", [32, 32, 3])
    assert (embeddings.name, embeddings.type, embeddings.shape[1:]) == ("embeddings", "tensor(float)", [16])
    assert (regions.name, regions.type, regions.shape[1:]) == ("regions", "tensor(float)", [8, 8, 16])
    for count in (1, 3):
        made = run_onnx(exported[1], IMAGES[:count])
        assert made.shape == (count, 16)
        assert np.linalg.norm(made, axis=1) == pytest.approx(1, abs=1e-5)


def test_both_runtimes_agree(exported: tuple[tf.keras.Model, Path]) -> None:
    parity = check_parity(*exported, IMAGES)
    assert parity.photos == 5
    assert parity.min_cosine > 0.99999
    assert 0 <= parity.max_difference < 1e-3


@pytest.mark.slow
def test_an_optimization_that_fails_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing:
        def optimize(self, graph: object, iteration: int) -> None:
            raise KeyError("an unknown operation")

    monkeypatch.setitem(optimizer._optimizers, "einsum_optimizer", Failing)
    network = build_network(BACKBONES["small_cnn"], "none", 16, Head())
    export_onnx(network, tmp_path / "embedder.onnx")
    assert check_parity(network.whole(), tmp_path / "embedder.onnx", IMAGES).min_cosine > 0.99999


def test_networks_that_disagree_are_rejected(exported: tuple[tf.keras.Model, Path], tmp_path: Path) -> None:
    other = build_network(BACKBONES["small_cnn"], "none", 16, Head()).whole()
    with pytest.raises(LookalikeError, match="lowest cosine"):
        check_parity(other, exported[1], IMAGES)


def test_embeddings_that_are_nan_are_rejected(exported: tuple[tf.keras.Model, Path], tmp_path: Path) -> None:
    damaged = onnx.load(exported[1])
    weights = max(damaged.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    weights.raw_data = np.full(len(weights.raw_data) // 4, np.nan, np.float32).tobytes()
    onnx.save(damaged, tmp_path / "damaged.onnx")
    with pytest.raises(LookalikeError, match="lowest cosine"):
        check_parity(exported[0], tmp_path / "damaged.onnx", IMAGES)


def test_a_network_that_onnx_runtime_cannot_run_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "letter.onnx").write_text("Dear photo")
    with pytest.raises(LookalikeError, match=r"can't run the network .*letter.onnx.*choose another backbone"):
        run_onnx(tmp_path / "letter.onnx", IMAGES)


NAMED_ONES = ["efficientnet_lite0", "mobilenet_v2", "resnet50", "vgg16"]
WITH_CONSTANTS, WITH_GROUPS = "keras:EfficientNetV2B0", "keras:RegNetX002"


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMED_ONES)
def test_every_backbone_is_the_same_in_onnx_runtime(name: str, exported_backbone: Export) -> None:
    network, images, embeddings = exported_backbone(name)
    assert (run_onnx(network, images) * embeddings).sum(axis=1).min() > 0.99999
    assert np.unique(embeddings.round(4), axis=0).shape == embeddings.shape
    regions_that_add_up(network, images)


@pytest.mark.slow
@pytest.mark.parametrize("name", [WITH_CONSTANTS, WITH_GROUPS])
def test_networks_of_keras_are_the_same_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    """Their batch normalization has the statistics of these images."""
    backbone = replace(backbone_named(name), resize=ResizeRule(size=64, shorter_side=64), train_size=64)
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    network = build_network(backbone, "none", 16, Head())
    initialize_batch_norm(network.features, images.astype(np.float32))
    export_onnx(network, tmp_path / "embedder.onnx")
    assert check_parity(network.whole(), tmp_path / "embedder.onnx", images).min_cosine > 0.99999
    regions_that_add_up(tmp_path / "embedder.onnx", images)


@pytest.mark.parametrize("head", [Head(), Head(hidden=24), Head(hidden=24, relu=True), MeanCentred()], ids=str)
def test_regions_add_up_to_the_embedding_for_every_head(head: AnyHead, tmp_path: Path) -> None:
    network = build_network(BACKBONES["small_cnn"], "none", 16, head)
    for layer in network.projection.layers:
        if isinstance(layer, tf.keras.layers.Dense):
            layer.bias.assign(np.random.default_rng(0).normal(scale=0.1, size=layer.bias.shape))
    export_onnx(network, tmp_path / "embedder.onnx")
    regions = regions_that_add_up(tmp_path / "embedder.onnx", IMAGES)
    assert regions.std(axis=(1, 2)).max() > 1e-3  # they differ from place to place


def regions_that_add_up(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path)
    assert session.run(["regions"], {"images": images})[0].size == 0, "nobody has asked"
    embeddings, regions = session.run(["embeddings", "regions"], {"images": images, "explain": np.array(True)})
    np.testing.assert_allclose(regions.sum(axis=(1, 2)), embeddings, atol=1e-5)
    return regions


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with little room."""
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        (disk / "filler").write_bytes(bytes(DISK_BYTES - ROOM_BYTES))
        yield disk


def test_a_full_disk_is_reported(full_disk: Path) -> None:
    network = build_network(BACKBONES["small_cnn"], "none", 16, Head())
    with pytest.raises(LookalikeError, match=r"no space left on device.*free \d+ MB"):
        export_onnx(network, full_disk / "embedder.onnx")


@pytest.mark.slow
def test_training_onto_a_full_disk_leaves_no_bundle(
    lookalike: Command, colours: Path, full_disk: Path, tmp_path: Path
) -> None:
    options = ("--backbone", "small_cnn", "--epochs", "1", "--dimension", "8", "--set", "steps_per_epoch=1")
    run = lookalike("train", "--data", colours, "--out", full_disk / "bundle", *options, home=tmp_path)
    assert run.status == 1
    assert "no space left on device" in run.err.lower()
    assert not (full_disk / "bundle").exists()
    assert not list(full_disk.glob("*bundle*/**/embedder.*"))
