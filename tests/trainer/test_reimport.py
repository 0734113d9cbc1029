"""Networks that the trainer exports as plain ONNX files come back through `lookalike import`."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tf2onnx
from exported import Export

from retrieval.embedder import Embedder
from retrieval.images import ResizeRule
from retrieval.importing.importer import Imported, Options, import_network
from retrieval.index.vectors import to_unit_length
from trainer.backbones import backbone_named
from trainer.backbones.base import Backbone
from trainer.export import run_onnx
from trainer.network import initialize_batch_norm

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)

pytestmark = pytest.mark.slow  # tests/retrieval/importing has fast tests of small networks


def resized(name: str) -> Backbone:
    return replace(backbone_named(name), resize=ResizeRule(size=64, shorter_side=64), train_size=64)


def imported(path: Path, folder: Path) -> Imported:
    return import_network(str(path), folder / "bundle", Options(size=64), lambda _: None)


def test_the_features_of_a_backbone_are_those_of_keras(tmp_path: Path) -> None:
    features = resized("efficientnet_lite0").build("none")
    initialize_batch_norm(features, IMAGES.astype(np.float32))
    path = tmp_path / "features.onnx"
    tf2onnx.convert.from_keras(features, opset=13, output_path=str(path))
    bundle = imported(path, tmp_path).bundle
    expected = to_unit_length(features(IMAGES.astype(np.float32), training=False).numpy())
    cosines = (expected * Embedder(bundle, threads=1).embed(IMAGES)).sum(axis=1)
    assert cosines.min() >= 0.9999


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0", "vgg16"])
def test_the_network_of_a_bundle_can_be_imported(name: str, exported_backbone: Export, tmp_path: Path) -> None:
    network = exported_backbone(name).network
    bundle = imported(network, tmp_path).bundle
    cosines = (run_onnx(network, IMAGES) * Embedder(bundle, threads=1).embed(IMAGES)).sum(axis=1)
    assert cosines.min() >= 0.9999
