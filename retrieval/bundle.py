"""The model bundle: what the trainer hands over and everybody else runs.

A folder with `bundle.json`, `embedder.onnx` and, where it comes fresh from the trainer, `training/`.
"""

import hashlib
import shutil
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from retrieval.errors import BadBundle
from retrieval.images import ResizeRule

FORMAT_VERSION = 1
MANIFEST = "bundle.json"
NETWORK = "embedder.onnx"

Precision = Literal["float32", "int8"]


class TrainingData(BaseModel):
    """What the network was trained on: the data set's name, the digest of its list of photos, photos per split."""

    name: str
    digest: str
    counts: dict[str, int]


class Parity(BaseModel):
    """How far ONNX Runtime's embeddings are from TensorFlow's on the validation photos."""

    photos: int
    min_cosine: float
    max_difference: float


class Calibration(BaseModel):
    """What a score means, measured on the validation photos: each in turn asks for all others.

    Of each query two scores (cosine similarities) count: the highest of a photo with its label, and the highest of a
    photo with another label.

    Attributes:
        queries: photos that have both.
        same_label: the 0, 5, …, 100 % quantiles of the highest score with the same label, 21 values.
        other_label: the same of the highest score with another label.
        close_match: the score at which a best photo is as likely to come from the first kind as from the second, by
            logistic regression on both; from there on it more likely shows the query's own kind. None where the score
            tells nothing.
    """

    queries: int
    same_label: list[float]
    other_label: list[float]
    close_match: float | None


class Versioned(BaseModel):
    """What `bundle.json` says in every format version, and all that may be read before that is known."""

    format_version: int = FORMAT_VERSION


class Manifest(Versioned):
    """`bundle.json`: all that is known of a model."""

    model_config = ConfigDict(frozen=True)

    model_id: str
    backbone: str
    recipe: str
    changed: tuple[str, ...] = Field((), description="what the user changed of the recipe, each setting=value")
    dimension: int = Field(gt=0)
    resize: ResizeRule
    classes: list[str]
    training_data: TrainingData
    seed: int
    metrics: dict[str, Any]
    precision: Precision = Field("float32", description="what most of the network computes in")
    parity: Parity = Field(description="of the float32 network")
    calibration: Calibration | None = None
    versions: dict[str, str]
    created_at: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose hash and format version have been checked."""

    folder: Path
    manifest: Manifest

    @property
    def model_id(self) -> str:
        """The model's name."""
        return self.manifest.model_id

    @property
    def dimension(self) -> int:
        """The length of its embeddings, d."""
        return self.manifest.dimension

    @property
    def resize(self) -> ResizeRule:
        """How a photo becomes its input."""
        return self.manifest.resize

    @property
    def network(self) -> Path:
        """The ONNX file: `images` uint8 [batch, size, size, 3] → `embeddings` float32 [batch, d], unit length.

        It may have an optional input `explain`, bool, false unless given. Where it is true, a second output, `regions`
        float32 [batch, h, w, d], says what the places of the last feature map add to the embedding.
        """
        return self.folder / NETWORK


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check it.

    Raises:
        BadBundle: no bundle there, another format version, or a network that is not the one the manifest names.
    """
    if not (folder / MANIFEST).is_file():
        raise BadBundle(f"{folder} is not a model bundle: it has no {MANIFEST}.", "Make one with `lookalike train`.")
    manifest = _read_manifest(folder / MANIFEST)
    try:
        digest = _sha256(folder / NETWORK)
    except OSError as error:
        raise BadBundle(
            f"{folder / NETWORK} can't be read ({error.strerror}).", "Copy the bundle again, whole."
        ) from None
    if manifest.model_id != model_id(manifest.backbone, digest):
        raise BadBundle(
            f"{folder / NETWORK} is damaged or not the network of this bundle: its sha256 starts with {digest[:12]}, "
            f"and {MANIFEST} expects {manifest.model_id.rpartition('-')[2]}.",
            "Copy the bundle again from where it was trained, or train it again.",
        )
    return Bundle(folder, manifest)


def write_bundle(folder: Path, network: Path, training: Path | None = None, **manifest: Any) -> Bundle:
    """Write a bundle whole or not at all, replacing one that was there.

    Args:
        folder: where the bundle shall be.
        network: the ONNX file.
        training: a folder to become the bundle's `training/`.
        **manifest: the fields of `Manifest` other than `format_version` and `model_id`.

    Raises:
        BadBundle: the folder exists and is no bundle, or the disk refuses.
    """
    check_target(folder)
    description = Manifest(model_id=model_id(manifest["backbone"], _sha256(network)), **manifest)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            fresh = Path(temporary, "fresh")
            fresh.mkdir()
            shutil.copyfile(network, fresh / NETWORK)
            (fresh / MANIFEST).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
            if training is not None:
                shutil.copytree(training, fresh / "training")
            if folder.exists():
                folder.rename(Path(temporary, "replaced"))
            fresh.rename(folder)
    except OSError as error:
        raise BadBundle(
            f"The bundle could not be written to {folder} ({error.strerror}).",
            "Nothing was left behind; make room and try again.",
        ) from None
    return Bundle(folder, description)


def check_target(folder: Path) -> None:
    """Make sure that a bundle can be written there: nothing is there, or an empty folder, or a bundle to replace.

    Raises:
        BadBundle: something else is there, its parent folder can't be written, or it can't change places with another
            folder, as the working directory and where a disk is mounted can't.
    """
    if folder.name in ("", "..") or folder.is_mount():
        raise BadBundle(f"{folder} can't be replaced by a bundle.", f"Name a folder in it: {folder / 'bundle'}.")
    if folder.exists() and not (folder / MANIFEST).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadBundle(f"{folder} exists and is not a model bundle.", "Name another folder with --out.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder.parent).close()
    except OSError as error:
        raise BadBundle(
            f"No bundle can be written to {folder} ({error.strerror}).", "Name another folder with --out."
        ) from None


def install_bundle(bundle: Bundle, models_folder: Path) -> Bundle:
    """Copy what serving needs of a bundle to `models_folder/<model id>`, unless it is there; returns the copy.

    A copy that is damaged, or whose manifest says something else, is replaced.
    """
    target = models_folder / bundle.model_id
    with suppress(BadBundle):
        installed = load_bundle(target)
        if installed.manifest == bundle.manifest:
            return installed
    fields = bundle.manifest.model_dump(exclude={"model_id", "format_version"})
    return write_bundle(target, bundle.network, **fields)


def model_id(backbone: str, network_sha256: str) -> str:
    """A model's name: its backbone and the first 12 hex digits of its network's sha256."""
    return f"{backbone}-{network_sha256[:12]}"


def _read_manifest(path: Path) -> Manifest:
    try:
        content = path.read_bytes()
        version = Versioned.model_validate_json(content).format_version
        if version == FORMAT_VERSION:
            return Manifest.model_validate_json(content)
    except (OSError, ValidationError) as error:
        problem = (
            error.strerror if isinstance(error, OSError) else f"{error.errors()[0]['loc']}: {error.errors()[0]['msg']}"
        )
        raise BadBundle(f"{path} can't be understood ({problem}).", "Copy the bundle again, whole.") from None
    raise BadBundle(
        f"{path} has format version {version}; this Lookalike reads version {FORMAT_VERSION}.",
        "Train the model again with this version, or install the version that made it.",
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
