"""Networks of backbones as ONNX files, for the tests that compare, quantize and import them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from once import once

from retrieval.images import ResizeRule

SIZE = 64
LABELS = np.repeat(["blue", "green", "red"], 6)

Export = Callable[[str], "Exported"]


class Exported(NamedTuple):
    """A network as ONNX, and the embeddings that Keras computes of some images."""

    network: Path
    images: np.ndarray
    embeddings: np.ndarray


def pictures(seed: int) -> np.ndarray:
    """A plain picture in each label's colour, with noise: a small network that has learnt nothing tells them apart."""
    colours = np.array([[40, 60, 220], [50, 200, 60], [230, 40, 30]]).repeat(6, 0)[:, None, None]
    noise = np.random.default_rng(seed).normal(scale=10, size=(len(LABELS), SIZE, SIZE, 3))
    return (colours + noise).clip(0, 255).astype(np.uint8)


def export(name: str, folder: Path) -> None:
    """Write the network of a backbone without pretrained weights, and the embeddings of Keras, to a folder."""
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    from trainer.backbones import backbone_named  # noqa: PLC0415
    from trainer.export import export_onnx  # noqa: PLC0415
    from trainer.network import build_network, initialize_batch_norm  # noqa: PLC0415
    from trainer.recipes import Head  # noqa: PLC0415

    tf.keras.utils.set_random_seed(0)
    backbone = replace(backbone_named(name), resize=ResizeRule(size=SIZE, shorter_side=SIZE), train_size=SIZE)
    network = build_network(backbone, "none", 16, Head())
    initialize_batch_norm(network.features, pictures(1).astype(np.float32))
    export_onnx(network, folder / "embedder.onnx")
    images = np.random.default_rng(0).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    images = np.concatenate([images, pictures(2)[::6]])
    np.savez(folder / "keras.npz", images=images, embeddings=network.whole().predict(images, verbose=0))


def exported_once(factory: pytest.TempPathFactory, name: str) -> Exported:
    """Return the network of a backbone, which the first test that needs it exports."""
    folder = once(factory, f"exported-{name.replace(':', '-')}", lambda made: export(name, made))
    with np.load(folder / "keras.npz") as computed:
        return Exported(folder / "embedder.onnx", computed["images"], computed["embeddings"])
