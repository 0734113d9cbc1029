"""Sources of labelled photos: folders, manifests, TensorFlow Datasets and the digits of scikit-learn.

Each becomes a folder or manifest of photo files, so that all are listed and read in the same way.
"""

import io
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from PIL import Image

from retrieval.errors import BadSource, os_errors_as
from retrieval.photo_ref import display
from trainer.download import reachable
from trainer.extra import require_training_extra

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

DIGITS = "digits"
TFDS_PREFIX = "tfds:"
TFDS_HOST = "https://storage.googleapis.com/tfds-data"

EncodedPhoto = tuple[str, str, bytes]


def locate(data: str, home: Path) -> Path:
    """Return the folder or manifest of a `--data` argument; `tfds:NAME` and `digits` are written to `home` once.

    Raises `LookalikeError` if the data set is unknown or can't be downloaded.
    """
    if data == DIGITS:
        return _materialize(home / "datasets" / DIGITS, _digits())
    if data.startswith(TFDS_PREFIX):
        name = data.removeprefix(TFDS_PREFIX)
        return _materialize(home / "datasets" / quote(name, safe=""), _tfds(name))
    return Path(data)


def _materialize(folder: Path, photos: Iterable[EncodedPhoto]) -> Path:
    """Write photos (class, file name, content) to a folder per class, atomically, unless the folder exists.

    Several processes may write the same folder at the same time; all of them then use that of the first.
    """
    if folder.is_dir():
        return folder
    remedy = "Free disk space, or set LOOKALIKE_HOME to another folder."
    with os_errors_as(BadSource, f"The data set could not be written to {display(folder)}", remedy):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            fresh = Path(temporary, "fresh")
            for label, name, content in photos:
                path = fresh / quote(label, safe=" ") / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            try:
                fresh.rename(folder)
            except OSError:
                if not folder.is_dir():
                    raise
    return folder


def _digits() -> Iterator[EncodedPhoto]:
    """Yield the 1,797 scanned digits of scikit-learn, 8 × 8 greyscale: https://archive.ics.uci.edu/dataset/80."""
    from sklearn.datasets import load_digits  # noqa: PLC0415 - takes a second

    digits = load_digits()
    for number, (image, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        file = io.BytesIO()
        Image.fromarray((image * (255 / 16)).round().astype("uint8")).save(file, "PNG")
        yield str(label), f"{number:04}.png", file.getvalue()


def _tfds(name: str) -> Iterator[EncodedPhoto]:
    """Yield the photos of a data set of TensorFlow Datasets in their original encoding, with its class names."""
    with require_training_extra():
        import tensorflow_datasets as tfds  # noqa: PLC0415 - an extra
    try:
        builder = tfds.builder(name)
    except (tfds.core.registered.DatasetNotFoundError, ValueError):
        raise BadSource(
            f"TensorFlow Datasets has no data set {name!r}.", "Check its name in their catalogue."
        ) from None
    features = builder.info.features
    if not {"image", "label"} <= set(features) or not isinstance(features["label"], tfds.features.ClassLabel):
        raise BadSource(f"The data set {name} has no image and label.", "Choose another data set.")
    _prepare(builder)
    splits = builder.as_dataset(decoders={"image": tfds.decode.SkipDecoding()})
    for split in sorted(splits):
        for number, example in enumerate(tfds.as_numpy(splits[split])):
            content = example["image"]
            suffix = "png" if content.startswith(b"\x89PNG") else "jpg"
            yield features["label"].int2str(int(example["label"])), f"{split}-{number:06}.{suffix}", content


def _prepare(builder: "tfds.core.DatasetBuilder") -> None:
    remedy = "Try again with a network connection, or name a folder with a folder of photos for each class."
    if builder.is_prepared():
        return
    if not reachable(TFDS_HOST):
        raise BadSource(f"The data set {builder.name} can't be downloaded: its host does not respond.", remedy)
    try:
        builder.download_and_prepare()
    except Exception as error:  # many libraries take part in a download, each with its own exceptions
        raise BadSource(f"The data set {builder.name} could not be prepared ({error}).", remedy) from None
