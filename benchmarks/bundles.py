"""Make the bundles that the benchmarks compare: a float32 network and the same weights in int8.

    python benchmarks/bundles.py --photos FOLDER --out FOLDER [--bundle BUNDLE]

Writes `float32` and `int8` below `--out`. Without `--bundle` the network is MobileNetV2 with the ImageNet weights next
to the checkout, or EfficientNet-Lite0 with the weights of the installation. Its head is not trained, which does not
affect speed.

The int8 network is made as by `lookalike train --quantize int8`: training photos calibrate it, validation photos select
how many of its first convolutions stay float32, and MAP@R of both networks is measured on the test photos. The splits
are those of `split.csv` in the photo folder, or drawn at random.
"""

import argparse
import shutil
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from options import show

from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.bundle import Bundle, load_bundle, write_bundle
from retrieval.bundle_format import TrainingData
from retrieval.decoder import PhotoDecoder
from retrieval.images import ResizeRule
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef
from retrieval.stores import read_file
from trainer.backbones import backbone_named
from trainer.data import LabelledImages
from trainer.export import check_parity, export_onnx, run_onnx, save_weights
from trainer.network import build_for
from trainer.quantization import CALIBRATION_PHOTOS, FLOAT32_AT_FIRST, LARGEST_LOSS, quantize_onnx
from trainer.recipes import recipe_named
from trainer.runs import ONNX, WEIGHTS
from trainer.splits import SPLITS, splits_from_file, stratified_splits

IMAGENET = Path(__file__).resolve().parents[2] / "shared" / "weights" / "mobilenet_v2_imagenet_notop.h5"
PARITY_PHOTOS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos for each class")
    parser.add_argument("--out", type=Path, required=True, help="where the bundles shall be")
    parser.add_argument("--bundle", type=Path, help="a trained bundle in float32; otherwise an untrained one is made")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    show(make(options.photos, options.out, options.bundle), options.json)


def make(photos: Path, out: Path, given: Path | None) -> dict[str, Any]:
    """Write both bundles; return the MAP@R of both and the cosine of their embeddings."""
    refs = split(photos)
    if given is not None:
        full = load_bundle(given)
        if full.manifest.precision != "float32":
            raise SystemExit(f"{given} computes in {full.manifest.precision}; give a float32 bundle.")
        shutil.copytree(given, out / "float32")
    else:
        full = write_untrained(out / "float32", refs["val"])
    images = {name: pixels(of_split, full.resize) for name, of_split in refs.items()}
    small, kept = write_int8(full, out / "int8", images)
    test = images["test"]
    vectors, rounded = run_onnx(full.network, test.images), run_onnx(small.network, test.images)
    found = {"float32": map_at_r(vectors, test), "int8": map_at_r(rounded, test)}
    cosines = (vectors * rounded).sum(axis=1)
    return {
        "backbone": full.manifest.backbone,
        "recipe": full.manifest.recipe,
        "test_photos": len(test.labels),
        "map_at_r": {name: round(value, 4) for name, value in found.items()},
        "map_at_r_lost": round(found["float32"] - found["int8"], 4),
        "cosine_of_both": {"mean": round(float(cosines.mean()), 4), "lowest": round(float(cosines.min()), 4)},
        "first_convolutions_in_float32": kept,
    }


def write_untrained(folder: Path, photos: Sequence[PhotoRef]) -> Bundle:
    """A bundle with an untrained head, after checking parity with TensorFlow."""
    tf.keras.utils.set_random_seed(0)
    name, weights = ("mobilenet_v2", str(IMAGENET)) if IMAGENET.exists() else ("efficientnet_lite0", "auto")
    recipe = recipe_named("default")
    network = build_for(recipe, backbone_named(name), weights)
    embedder = network.whole()
    with tempfile.TemporaryDirectory() as temporary:
        onnx, training = Path(temporary, ONNX), Path(temporary, "training")
        training.mkdir()
        export_onnx(network, onnx)
        save_weights(embedder, training / WEIGHTS)
        images = pixels(photos[:PARITY_PHOTOS], network.backbone.resize).images
        return write_bundle(
            folder,
            onnx,
            training,
            backbone=name,
            recipe="default",
            dimension=recipe.dimension,
            resize=network.backbone.resize,
            classes=[],
            training_data=TrainingData(name="none", digest="", counts={}),
            seed=0,
            metrics={},
            parity=check_parity(embedder, onnx, images),
            versions={"tensorflow": tf.__version__},
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )


def write_int8(full: Bundle, folder: Path, images: dict[str, LabelledImages]) -> tuple[Bundle, int]:
    """The quantized bundle, and how many of its first convolutions stay float32."""
    train, val = images["train"].images, images["val"]
    calibration = train[np.random.default_rng(0).permutation(len(train))[:CALIBRATION_PHOTOS]]  # of all classes
    before = map_at_r(run_onnx(full.network, val.images), val)
    with tempfile.TemporaryDirectory() as temporary:
        onnx = Path(temporary, ONNX)
        for kept in FLOAT32_AT_FIRST:
            quantize_onnx(full.network, onnx, calibration, kept)
            if before - map_at_r(run_onnx(onnx, val.images), val) <= LARGEST_LOSS:
                break
        manifest = dict(full.manifest) | {"precision": "int8"}
        for decided in ("format_version", "model_id", "files"):
            del manifest[decided]
        return write_bundle(folder, onnx, full.folder / "training", **manifest), kept


def split(photos: Path) -> dict[str, list[PhotoRef]]:
    """The photos by split."""
    listed, file = list(list_photos(photos)), photos / "split.csv"
    known = splits_from_file(listed, photos, file, print) if file.exists() else stratified_splits(listed, seed=0)
    return {name: [photo for photo in known if photo.split == name] for name in SPLITS}


def pixels(photos: Sequence[PhotoRef], rule: ResizeRule) -> LabelledImages:
    """The photos as network input."""
    images = [PhotoDecoder().read_pixels(read_file(photo.path), rule).pixels for photo in photos]
    return LabelledImages(np.stack(images), np.array([str(photo.label) for photo in photos]))


def map_at_r(embeddings: npt.NDArray[np.float32], photos: LabelledImages) -> float:
    return evaluate_embeddings(embeddings, photos.labels).overall["map_at_r"]


if __name__ == "__main__":
    main()
