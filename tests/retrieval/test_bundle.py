"""A bundle is checked when it is read, and written whole or not at all."""

import json
import shutil
from pathlib import Path

import make
import pytest

from retrieval.bundle import Bundle, check_target, install_bundle, load_bundle, write_bundle
from retrieval.errors import BadBundle


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle.folder, tmp_path / "copy"))


def test_a_bundle_is_read_as_it_was_written(bundle: Bundle) -> None:
    assert load_bundle(bundle.folder) == bundle
    assert bundle.model_id.startswith("thumbnail-")


def test_a_flipped_byte_is_found(copy: Path) -> None:
    network = bytearray((copy / "embedder.onnx").read_bytes())
    network[len(network) // 2] ^= 1
    (copy / "embedder.onnx").write_bytes(network)
    with pytest.raises(BadBundle, match="damaged"):
        load_bundle(copy)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format_version": 99}, "format version 99; this Lookalike reads version 1"),
        ({"format_version": 99, "dimension": "many"}, "format version 99"),
        ({"dimension": "many"}, "dimension"),
        ({"model_id": "thumbnail-000000000000"}, "expects 000000000000"),
    ],
)
def test_a_changed_manifest_is_found(copy: Path, change: dict[str, object], sentence: str) -> None:
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(manifest | change))
    with pytest.raises(BadBundle, match=sentence):
        load_bundle(copy)


def test_what_is_no_bundle_is_told(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(BadBundle, match="not a model bundle"):
        load_bundle(tmp_path)
    (copy / "embedder.onnx").unlink()
    with pytest.raises(BadBundle, match="can't be read"):
        load_bundle(copy)
    (copy / "bundle.json").write_text("no json")
    with pytest.raises(BadBundle, match="can't be understood"):
        load_bundle(copy)


def test_writing_replaces_a_bundle_and_nothing_else(tmp_path: Path) -> None:
    first = make.bundle(tmp_path / "model", seed=1)
    second = make.bundle(tmp_path / "model", seed=2)
    assert first.model_id != second.model_id
    assert load_bundle(tmp_path / "model") == second
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "1.jpg").touch()
    with pytest.raises(BadBundle, match="is not a model bundle"):
        make.bundle(tmp_path / "photos")
    assert (tmp_path / "photos" / "1.jpg").exists()


def test_a_failed_write_leaves_the_old_bundle(tmp_path: Path, bundle: Bundle) -> None:
    old = make.bundle(tmp_path / "model", seed=1)
    fields = bundle.manifest.model_dump(exclude={"model_id", "format_version"})
    with pytest.raises(BadBundle, match="could not be written"):
        write_bundle(tmp_path / "model", bundle.network, training=tmp_path / "no such folder", **fields)
    assert load_bundle(tmp_path / "model") == old
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_target_that_cannot_be_written_is_told_before_the_work() -> None:
    with pytest.raises(BadBundle, match="No bundle can be written to /proc/nowhere/model"):
        check_target(Path("/proc/nowhere/model"))


@pytest.mark.parametrize("folder", [".", "..", "/proc"])
def test_a_target_that_cannot_be_replaced_is_told_before_the_work(folder: str) -> None:
    with pytest.raises(BadBundle, match=r"Name a folder in it: \S*bundle") as raised:
        check_target(Path(folder))
    assert raised.value.message == f"{folder} can't be replaced by a bundle."


def test_installing_copies_what_serving_needs(bundle: Bundle, tmp_path: Path) -> None:
    installed = install_bundle(bundle, tmp_path / "models")
    assert installed.folder == tmp_path / "models" / bundle.model_id
    assert installed.manifest == bundle.manifest
    assert sorted(path.name for path in installed.folder.iterdir()) == ["bundle.json", "embedder.onnx"]
    assert install_bundle(bundle, tmp_path / "models") == installed


@pytest.mark.parametrize("damage", ["network", "manifest", "lie"])
def test_installing_again_heals_the_copy(bundle: Bundle, tmp_path: Path, damage: str) -> None:
    folder = install_bundle(bundle, tmp_path / "models").folder
    if damage == "network":
        (folder / "embedder.onnx").write_bytes(b"damaged")
    else:
        text = (folder / "bundle.json").read_text()
        (folder / "bundle.json").write_text(
            "{" if damage == "manifest" else text.replace('"dimension": 16', '"dimension": 8')
        )
    assert install_bundle(bundle, tmp_path / "models").manifest == bundle.manifest
    assert load_bundle(folder).manifest == bundle.manifest
