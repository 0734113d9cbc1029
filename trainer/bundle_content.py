"""What every bundle of the trainer contains besides its network, and the held-out photos that it is measured on."""

from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from retrieval.analysis.calibration import calibration_data, pairs_of
from retrieval.analysis.copies import read_near_identical
from retrieval.bundle_format import CalibrationData
from retrieval.images import ResizeRule
from retrieval.parts import Parts
from retrieval.session import runtime_version
from retrieval.stores import read_file
from retrieval.top_k import Embeddings
from trainer.data import Dataset, LabelledImages, labels_of, read_all
from trainer.export import run_onnx
from trainer.roles import roles_of

TRAINING = "training"
COPIED = 100  # validation photos with near-identical copies
LIBRARIES = ("tensorflow", "tensorflow-addons", "tf2onnx", "numpy", "pillow")


def read_held_out(dataset: Dataset, split: str, rule: ResizeRule, work: Path) -> LabelledImages:
    """Read the photos of a held-out split, and edited copies of them, to files in the work folder."""
    photos = dataset.split(split)
    images = read_all(photos, rule, dataset.decoder, file=work / f"{split}.pixels")
    copies = read_all(photos, rule, dataset.decoder, file=work / f"{split}-copies.pixels", edited=True)
    return LabelledImages(images, labels_of(photos), copies, roles_of(photos))


def calibrated(
    dataset: Dataset, network: Path, embeddings: Embeddings, parts: Parts, rule: ResizeRule
) -> CalibrationData | None:
    """Return the calibration of scores on the validation photos; None if there are too few.

    Args:
        network: the ONNX file.
        embeddings: of the validation photos by the network, float32 [photos, d].
        parts: of the embeddings.
        rule: how photos are resized for the network.
    """
    photos = dataset.split("val")
    drawn = np.random.default_rng(0).permutation(len(photos))[:COPIED]
    decoder = dataset.decoder
    contents = (read_file(photos[one].path, decoder.policy.max_bytes) for one in drawn)
    pixels = [read_near_identical(content, rule, decoder) for content in contents]
    copies = run_onnx(network, np.concatenate(pixels))
    pairs = pairs_of(np.repeat(embeddings[drawn], len(pixels[0]), axis=0), copies, parts)
    return calibration_data(embeddings, labels_of(photos) if dataset.classes else None, parts, pairs)


def write_photo_splits(path: Path, dataset: Dataset) -> None:
    """Write the content hash and the split of each photo, by which `lookalike evaluate` recognizes them."""
    photos = sorted((dataset.fingerprints[photo.uri].sha256, str(photo.split)) for photo in dataset.photos)
    lines = "".join(f"{sha256},{split}\n" for sha256, split in photos)
    path.write_text(f"sha256,split\n{lines}", encoding="ascii")


def made_now() -> dict[str, Any]:
    """Return the fields of a manifest that say when and with which libraries a bundle was made."""
    versions = {library: version(library) for library in LIBRARIES} | {"onnxruntime": runtime_version()}
    return {"versions": versions, "created_at": datetime.now(UTC).isoformat(timespec="seconds")}
