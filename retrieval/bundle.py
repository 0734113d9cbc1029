"""Model bundles: a folder with `bundle.json`, `embedder.onnx` and, from the trainer, `training/`.

The trainer writes bundles; trainer, indexer and web run them with ONNX Runtime.
"""

import csv
import hashlib
import shutil
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from retrieval.bundle_format import (
    FORMAT_VERSION,
    PHOTOS,
    READ_VERSIONS,
    TEXT_NETWORK,
    TOKENIZER,
    FileName,
    Manifest,
    Versioned,
)
from retrieval.errors import BadBundle, os_errors_as
from retrieval.files import make_folder, replace_folder
from retrieval.images import ResizeRule

MANIFEST = "bundle.json"
NETWORK = "embedder.onnx"
COPY_AGAIN = "Copy the whole bundle again."


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle with hashes and a format version that have been checked."""

    folder: Path
    manifest: Manifest

    @property
    def model_id(self) -> str:
        """The id of the model."""
        return self.manifest.model_id

    @property
    def dimension(self) -> int:
        """The length of its embeddings, d."""
        return self.manifest.dimension

    @property
    def look(self) -> int:
        """The length of the part look, which ends an embedding of two parts; 0 if there is one part."""
        return self.manifest.parts[-1].length if len(self.manifest.parts) > 1 else 0

    @property
    def resize(self) -> ResizeRule:
        """How a photo is resized for the network."""
        return self.manifest.resize

    def photo_splits(self) -> dict[str, str] | None:
        """Return the split of each photo that the trainer used, by the sha256 of its file; None if it is not recorded.

        Raises `BadBundle` if the file can't be read.
        """
        if PHOTOS not in self.manifest.files:
            return None
        try:
            with (self.folder / PHOTOS).open(encoding="ascii", newline="") as lines:
                return {row["sha256"]: row["split"] for row in csv.DictReader(lines)}
        except OSError as error:
            raise BadBundle(f"{self.folder / PHOTOS} can't be read ({error.strerror}).", COPY_AGAIN) from None

    @property
    def network(self) -> Path:
        """The ONNX file: `images` uint8 [batch, size, size, 3] → `embeddings` float32 [batch, d], unit length.

        It may have an optional input `explain`, bool, false by default. If it is true, a second output, `regions`
        float32 [batch, h, w, d], is what each place of the last feature map adds to the embedding.
        """
        return self.folder / NETWORK

    @property
    def has_text(self) -> bool:
        """Whether it can embed texts, to search by words."""
        return TEXT_NETWORK in self.manifest.files

    @property
    def text_network(self) -> Path:
        """The ONNX file: `input_ids` and `attention_mask` int64 [batch, tokens] → `embeddings` like those of photos."""
        return self.folder / TEXT_NETWORK

    @property
    def tokenizer(self) -> Path:
        """The tokenizer of the text network, which also truncates and pads."""
        return self.folder / TOKENIZER


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and check it.

    Raises `BadBundle` if the folder is not a bundle, has another format version, or a file is not the one that its
    manifest describes.
    """
    if not (folder / MANIFEST).is_file():
        raise BadBundle(
            f"{folder} is not a model bundle: it has no {MANIFEST}.",
            "Make one with `lookalike train` or `lookalike import`.",
        )
    manifest = _read_manifest(folder / MANIFEST)
    digest = _sha256(folder / NETWORK)
    if manifest.model_id != model_id(manifest.backbone, digest):
        raise _damaged(folder / NETWORK, digest[:12], manifest.model_id.rpartition("-")[2])
    for name, expected in manifest.files.items():
        if (digest := _sha256(folder / name)) != expected:
            raise _damaged(folder / name, digest[:12], expected[:12])
    return Bundle(folder, manifest)


def write_bundle(
    folder: Path,
    network: Path,
    training: Path | None = None,
    *,
    files: Mapping[FileName, Path] | None = None,
    **manifest: Any,
) -> Bundle:
    """Write a bundle durably, replacing an existing one in one step; if that fails, the existing one stays.

    Several processes may write to the same folder at the same time; one of their bundles is then there.

    Args:
        training: a folder to be copied as `training/`.
        files: further files by the name that they get in the bundle.
        **manifest: the fields of `Manifest` other than `format_version`, `model_id` and `files`.

    Raises:
        BadBundle: the folder exists and is not a bundle, the fields are not consistent, or the disk can't be written.
    """
    check_target(folder)
    files = files or {}
    manifest["files"] = {name: _sha256(path) for name, path in files.items()}
    try:
        description = Manifest(model_id=model_id(manifest["backbone"], _sha256(network)), **manifest)
    except ValidationError as error:
        raise BadBundle(f"No bundle was written to {folder}: {_problem(error)}.", "Correct its description.") from None
    with os_errors_as(BadBundle, f"The bundle could not be written to {folder}", "Free disk space and try again."):
        make_folder(folder.parent)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            fresh = Path(temporary, "fresh")
            fresh.mkdir()
            shutil.copyfile(network, fresh / NETWORK)
            for name, path in files.items():
                shutil.copyfile(path, fresh / name)
            (fresh / MANIFEST).write_text(description.model_dump_json(indent=2) + "\n", encoding="utf-8")
            if training is not None:
                shutil.copytree(training, fresh / "training")
            replace_folder(folder, fresh)
    return Bundle(folder, description)


def check_target(folder: Path) -> None:
    """Check that a bundle can be written to a folder: it does not exist, is empty, or is a bundle to replace.

    Raises:
        BadBundle: something else exists there, its parent folder can't be written, or the folder can't be renamed, like
            the working directory and mount points.
    """
    if folder.name in ("", "..") or folder.is_mount():
        raise BadBundle(f"{folder} can't be replaced by a bundle.", f"Name a folder in it: {folder / 'bundle'}.")
    if folder.exists() and not (folder / MANIFEST).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise BadBundle(f"{folder} exists and is not a model bundle.", "Name another folder with --out.")
    with os_errors_as(BadBundle, f"No bundle can be written to {folder}", "Name another folder with --out."):
        folder.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder.parent).close()


def install_bundle(bundle: Bundle, models_folder: Path) -> Bundle:
    """Copy a bundle without `training/` to `models_folder/<model id>`, unless it is installed; return the copy.

    A copy that is damaged or has another manifest is replaced. Several processes may install the same bundle at the
    same time.
    """
    target = models_folder / bundle.model_id
    with suppress(BadBundle):
        installed = load_bundle(target)
        if installed.manifest == bundle.manifest:
            return installed
    fields = bundle.manifest.model_dump(exclude={"model_id", "format_version", "files"})
    return write_bundle(
        target, bundle.network, files={name: bundle.folder / name for name in bundle.manifest.files}, **fields
    )


def model_id(backbone: str, network_sha256: str) -> str:
    """Return the id of a model: its backbone and the first 12 hex digits of its network's sha256."""
    return f"{backbone}-{network_sha256[:12]}"


def _read_manifest(path: Path) -> Manifest:
    try:
        content = path.read_bytes()
        version = Versioned.model_validate_json(content).format_version
        if version in READ_VERSIONS:
            return Manifest.model_validate_json(content).model_copy(update={"format_version": FORMAT_VERSION})
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else _problem(error)
        raise BadBundle(f"{path} can't be read ({reason}).", COPY_AGAIN) from None
    readable = " and ".join(map(str, READ_VERSIONS))
    raise BadBundle(
        f"{path} has format version {version}; this version of Lookalike reads {readable}.",
        "Train the model again, or install the version of Lookalike that made the bundle.",
    )


def _problem(error: ValidationError) -> str:
    """The first problem, with the field that has it."""
    first = error.errors()[0]
    field, message = ".".join(map(str, first["loc"])), first["msg"].removeprefix("Value error, ")
    return f"{field}: {message}" if field else message


def _damaged(path: Path, found: str, expected: str) -> BadBundle:
    return BadBundle(
        f"{path} is damaged or belongs to another bundle: its sha256 starts with {found}, and {MANIFEST} expects "
        f"{expected}.",
        "Copy the bundle again from where it was made, or train it again.",
    )


def _sha256(path: Path) -> str:
    with os_errors_as(BadBundle, f"{path} can't be read", COPY_AGAIN), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
