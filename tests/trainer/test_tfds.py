"""Data sets of TensorFlow Datasets: a tiny one that is prepared locally, and unavailable ones."""

from pathlib import Path

import numpy as np
import pytest

from retrieval.errors import LookalikeError
from trainer import datasets
from trainer.data import load_dataset

tfds = pytest.importorskip("tensorflow_datasets", exc_type=ImportError)


class TinyFlowers(tfds.core.GeneratorBasedBuilder):
    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> "tfds.core.DatasetInfo":
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["sunflowers", "daisy"]),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: object) -> dict[str, object]:
        return {"train": self._generate_examples()}

    def _generate_examples(self, path: object = None):
        for number in range(16):
            yield number, {"image": np.full((9, 9, 3), number * 10, np.uint8), "label": number % 2}


def test_labels_are_the_names_that_the_data_set_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "tfds"))
    tfds.builder("tiny_flowers").download_and_prepare()
    dataset = load_dataset("tfds:tiny_flowers", tmp_path / "home", print)
    assert dataset.classes == ["daisy", "sunflowers"]
    assert len(dataset.photos) == 16
    assert {photo.path.parent.name for photo in dataset.photos} == {"daisy", "sunflowers"}


def test_an_unknown_name() -> None:
    with pytest.raises(LookalikeError, match="no data set 'no_such_flowers'"):
        datasets.locate("tfds:no_such_flowers", Path("home"))


def test_a_host_that_never_responds_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silent_host: str
) -> None:
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setattr(datasets, "TFDS_HOST", silent_host)
    with pytest.raises(LookalikeError, match="can't be downloaded: its host does not respond"):
        datasets.locate("tfds:tf_flowers", tmp_path / "home")
    assert list((tmp_path / "home" / "datasets").iterdir()) == []
