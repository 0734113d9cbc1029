"""Backbones of TensorFlow Hub, with SavedModels that have BiT's structure and random weights."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf
from tensorflow.keras import layers

from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.backbones import backbone_named
from trainer.backbones.hub_module import BIT_M_R50X1, hub_module
from trainer.export import check_parity, export_onnx, run_onnx
from trainer.network import build_network
from trainer.recipes import Head

GROUPS = 32
SIDE = 64


class StandardisedConvolution(layers.Conv2D):
    """Its kernel has mean 0 and variance 1 for each output."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        mean, variance = tf.nn.moments(kernel, axes=[0, 1, 2], keepdims=True)
        return super().convolution_op(inputs, (kernel - mean) / tf.sqrt(variance + 1e-10))


class GroupNormalisation(layers.Layer):
    def build(self, shape: tf.TensorShape) -> None:
        around = tf.keras.initializers.RandomUniform
        self.gamma = self.add_weight("gamma", shape[-1:], initializer=around(0.5, 1.5))
        self.beta = self.add_weight("beta", shape[-1:], initializer=around(-0.5, 0.5))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        shape, channels = tf.shape(x), x.shape[-1]
        groups = tf.reshape(x, tf.concat([shape[:3], [GROUPS, channels // GROUPS]], axis=0))
        mean, variance = tf.nn.moments(groups, [1, 2, 4], keepdims=True)
        return tf.reshape((groups - mean) * tf.math.rsqrt(variance + 1e-5), shape) * self.gamma + self.beta


def bit(side: int | None) -> tf.keras.Model:
    """A ResNet-v2 as BiT has it, with two blocks in one stage instead of sixteen in four."""

    def convolve(x: tf.Tensor, filters: int, kernel: int = 1, stride: int = 1) -> tf.Tensor:
        x = layers.ZeroPadding2D(kernel // 2)(x)
        return StandardisedConvolution(filters, kernel, stride, use_bias=False)(x)

    def activate(x: tf.Tensor) -> tf.Tensor:
        return layers.ReLU()(GroupNormalisation()(x))

    images = layers.Input((side, side, 3))
    x = layers.MaxPooling2D(3, 2)(layers.ZeroPadding2D(1)(convolve(images, 32, kernel=7, stride=2)))
    for filters, stride, first in [(32, 2, True), (32, 1, False)]:
        activated = activate(x)
        shortcut = convolve(activated, 4 * filters, stride=stride) if first else x
        inner = activate(convolve(activate(convolve(activated, filters)), filters, kernel=3, stride=stride))
        x = shortcut + convolve(inner, 4 * filters)
    return tf.keras.Model(images, layers.GlobalAveragePooling2D()(activate(x)))


@pytest.fixture(scope="session")
def any_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that accepts photos of any size."""
    folder = tmp_path_factory.mktemp("hub") / "bit-any"
    tf.saved_model.save(bit(None), folder)
    return folder


@pytest.fixture(scope="session")
def one_size(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SavedModel that accepts photos of 64 × 64 px alone."""
    folder = tmp_path_factory.mktemp("hub") / "bit-64"
    tf.saved_model.save(bit(SIDE), folder)
    return folder


def saved(folder: Path, answer: Callable[[tf.Tensor], object], takes: tf.TensorSpec) -> Path:
    class Module(tf.Module):
        @tf.function(input_signature=[takes])
        def __call__(self, photos: tf.Tensor) -> object:
            return answer(photos)

    tf.saved_model.save(Module(), folder)
    return folder


PHOTOS = tf.TensorSpec((None, None, None, 3))


@pytest.mark.slow
def test_the_features_are_those_of_the_saved_model_on_pixels_from_0_to_1(any_size: Path) -> None:
    pixels = np.random.default_rng(0).uniform(0, 255, (2, 96, 96, 3)).astype(np.float32)
    features = BIT_M_R50X1.build(str(any_size))(pixels, training=False)
    assert features.shape == (2, 128)
    assert features.numpy() == pytest.approx(tf.saved_model.load(any_size)(pixels / 255).numpy(), abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("model", "size"), [("any_size", 96), ("one_size", SIDE)])
def test_bit_is_the_same_in_onnx_runtime(model: str, size: int, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    backbone = hub_module(str(request.getfixturevalue(model)))
    backbone = replace(backbone, resize=ResizeRule(size=size, shorter_side=size), train_size=size)
    network = build_network(backbone, "auto", 16, Head())
    images = np.random.default_rng(0).integers(0, 256, (4, size, size, 3), dtype=np.uint8)
    export_onnx(network, tmp_path / "embedder.onnx")
    parity = check_parity(network.whole(), tmp_path / "embedder.onnx", images)
    assert parity.min_cosine > 0.99999
    operators = {node.op_type for node in onnx.load(tmp_path / "embedder.onnx").graph.node}
    assert {"Conv", "ReduceMean", "MaxPool"} <= operators  # group normalisation at run time
    assert np.unique(run_onnx(tmp_path / "embedder.onnx", images).round(4), axis=0).shape == (4, 16)


@pytest.mark.slow
def test_all_layers_are_trainable(any_size: Path) -> None:
    network = BIT_M_R50X1.build(str(any_size))
    before = [weight.numpy() for weight in network.trainable_variables]
    assert len(before) == len(bit(None).trainable_variables)
    pixels = tf.random.stateless_uniform((4, SIDE, SIDE, 3), (0, 1), 0, 255)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(network(pixels, training=False) ** 2)
    gradients = tape.gradient(loss, network.trainable_variables)
    tf.keras.optimizers.SGD(0.1).apply_gradients(zip(gradients, network.trainable_variables, strict=True))
    assert all((weight.numpy() != old).any() for weight, old in zip(network.trainable_variables, before, strict=True))
    assert tf.reduce_mean(network(pixels, training=False) ** 2) < loss


@pytest.mark.slow
def test_the_size_is_the_one_that_the_saved_model_accepts(any_size: Path, one_size: Path) -> None:
    free, fixed = hub_module(str(any_size)), hub_module(str(one_size))
    assert (free.resize.size, free.fixed_size) == (224, False)
    assert (fixed.resize.size, fixed.train_size, fixed.fixed_size) == (SIDE, SIDE, True)
    assert (free.name, fixed.name) == ("hub_bit-any", "hub_bit-64")
    with pytest.raises(LookalikeError, match="only photos of 64 px"):
        replace(fixed, train_size=48)
    with pytest.raises(LookalikeError, match="only photos of 64 px"):
        BIT_M_R50X1.build(str(one_size))


@pytest.mark.slow
def test_a_handle_is_found_in_the_cache_of_tensorflow_hub(
    any_size: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    url = "https://tfhub.dev/google/bit/m-r50x1/1"
    (tmp_path / hashlib.sha1(url.encode()).hexdigest()).symlink_to(any_size)
    assert BIT_M_R50X1.build().output_shape == (None, 128)
    assert backbone_named(f"hub:{url}").name == "hub_google_bit_m-r50x1_1"


def test_a_failed_download_names_the_archive_and_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_host: str
) -> None:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path))
    url = f"{silent_host}bit/1"
    with pytest.raises(LookalikeError, match="can't be downloaded") as raised:
        hub_module(url)
    assert f"{url}?tf-hub-format=compressed" in raised.value.remedy
    assert str(tmp_path / hashlib.sha1(url.encode()).hexdigest()) in raised.value.remedy


def test_a_saved_model_cannot_be_built_without_weights() -> None:
    with pytest.raises(LookalikeError, match="without its weights"):
        BIT_M_R50X1.build("none")


@pytest.mark.parametrize(
    ("answer", "takes", "reason"),
    [
        (lambda photos: photos * 2, PHOTOS, r"float32 \[batch, 224, 224, 3\]"),
        (lambda photos: {"features": tf.reduce_mean(photos, [1, 2])}, PHOTOS, "dict"),
        (lambda photos: tf.zeros((tf.shape(photos)[0], 1000, 3)), PHOTOS, r"float32 \[batch, 1000, 3\]"),
        (lambda photos: tf.cast(tf.reduce_mean(photos, [1, 2]), tf.int32), PHOTOS, r"int32 \[batch, 3\]"),
        (tf.strings.length, tf.TensorSpec((None,), tf.string), "calling it with photos"),
        (lambda photos: tf.reduce_mean(photos, [1, 2]), tf.TensorSpec((None, 32, 48, 3)), "calling it with photos"),
    ],
    ids=["photos", "a dictionary", "a table", "whole numbers", "text", "oblong photos"],
)
def test_a_saved_model_without_feature_vectors_is_rejected(
    answer: Callable[[tf.Tensor], object], takes: tf.TensorSpec, reason: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path / "other", answer, takes)
    with pytest.raises(LookalikeError, match=f"not a network from photos to feature vectors.*{reason}"):
        backbone_named(f"hub:{folder}").build()


def test_a_folder_without_a_saved_model_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "saved_model.pb").write_text("Dear photo")
    tf.saved_model.save(tf.Module(), tmp_path / "mute")
    for name, reason in {
        "missing": "no folder",
        "empty": "no readable SavedModel",
        "damaged": "no readable SavedModel",
    }.items():
        with pytest.raises(LookalikeError, match=rf"{reason}.*{name}|{name}.*{reason}"):
            BIT_M_R50X1.build(str(tmp_path / name))
    with pytest.raises(LookalikeError, match="can't be called"):
        BIT_M_R50X1.build(str(tmp_path / "mute"))
