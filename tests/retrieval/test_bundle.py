"""A bundle is checked when it is read, and written whole or not at all."""

import errno
import hashlib
import json
import shutil
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import make
import pytest

from retrieval import files
from retrieval.bundle import Bundle, check_target, install_bundle, load_bundle, write_bundle
from retrieval.errors import BadBundle

ARCHIVE = Path(__file__).parents[1] / "upgrades" / "0.1.0.tar.xz"


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
        ({"format_version": 99}, "format version 99; this version of Lookalike reads 1 and 2"),
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
    with pytest.raises(BadBundle, match="can't be read"):
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


@pytest.fixture(scope="session")
def of_0_1(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundles `bundle`, trained by version 0.1.0 with two seeds and in int8, and `tiny`."""
    folder = tmp_path_factory.mktemp("0.1.0")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.mark.parametrize("name", ["bundle", "tiny"])
def test_format_1_is_read_and_installed_as_format_2(of_0_1: Path, tmp_path: Path, name: str) -> None:
    old = json.loads((of_0_1 / name / "bundle.json").read_text())
    assert old.pop("format_version") == 1
    bundle = load_bundle(of_0_1 / name)
    read = bundle.manifest.model_dump(mode="json")
    old["resize"] = {**read["resize"], **old["resize"]}  # which has more fields now
    assert {field: read[field] for field in old} == old
    assert [part.model_dump() for part in bundle.manifest.parts] == [
        {"name": "kind", "length": bundle.dimension, "weight": 1}
    ]
    installed = install_bundle(bundle, tmp_path)
    written = installed.folder / "bundle.json"
    assert json.loads(written.read_text())["format_version"] == 2
    assert load_bundle(installed.folder).manifest == bundle.manifest
    before = written.stat().st_mtime_ns
    install_bundle(bundle, tmp_path)
    assert written.stat().st_mtime_ns == before, "it is installed already"


def test_the_metrics_are_those_of_format_1(of_0_1: Path) -> None:
    """Every key and value of what version 0.1.0 wrote and printed, and none besides."""
    metrics = load_bundle(of_0_1 / "bundle").manifest.metrics
    old = json.loads((of_0_1 / "bundle" / "training" / "metrics.json").read_text())
    del old["duplicates"]
    assert {"val", "test", "untrained", "training", "seeds", "quantization"} == set(old)
    assert metrics.model_dump(mode="json") == old
    assert json.loads(metrics.model_dump_json()) == old
    assert metrics.test.map_at_r == metrics.of("test")["map_at_r"] == old["test"]["map_at_r"]
    assert metrics.of("train") is None
    assert metrics.shown_split == "test"


def test_metrics_that_are_absent_stay_absent(tmp_path: Path) -> None:
    partial = {"test": {"recall_at_1": 0.875}, "untrained": {"val": {"mrr": 0.5, "queries": 0}}}
    written = make.bundle(tmp_path / "partial", metrics=partial)
    assert load_bundle(written.folder).manifest.metrics.model_dump(mode="json") == partial
    assert written.manifest.metrics.shown_split == "val"
    assert load_bundle(make.bundle(tmp_path / "none").folder).manifest.metrics.model_dump() == {}


TWO_PARTS = [{"name": "kind", "length": 10, "weight": 0.75}, {"name": "look", "length": 6, "weight": 0.25}]
PAIRS = {"kind": [0.5, 0.25], "look": [0.75, 1.0], "same_label": [True, False]}
COLUMNS = {"calibrated_on": "validation", "gallery": 2, "photos": PAIRS, "copies": {"kind": [1.0], "look": [0.5]}}
ORIGIN = {"source": "hf:someone/network", "revision": "0" * 40, "licence": "MIT", "files": {"model.onnx": "0" * 64}}


def described(bundle: Bundle, **changes: Any) -> dict[str, Any]:
    """The fields of a bundle's manifest, changed."""
    return bundle.manifest.model_dump(exclude={"model_id", "format_version", "files"}) | changes


def test_every_field_of_format_2_is_read_as_it_was_written(bundle: Bundle, tmp_path: Path) -> None:
    fields = described(bundle, parts=TWO_PARTS, calibration_data=COLUMNS, origin=ORIGIN, training_data=None, seed=None)
    written = write_bundle(tmp_path / "model", bundle.network, **fields)
    read = load_bundle(written.folder)
    assert read == written
    assert read.manifest.parts[1].name == "look"
    assert read.manifest.calibration_data.photos.same_label == [True, False]
    assert read.manifest.origin.files == {"model.onnx": "0" * 64}
    assert install_bundle(read, tmp_path / "models").manifest == written.manifest


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"parts": TWO_PARTS[:1]}, "lengths of the parts add up to 10, and the embedding has 16"),
        ({"parts": [TWO_PARTS[0], TWO_PARTS[1] | {"weight": 0.3}]}, "weights of the parts add up to 1.05 instead of 1"),
        ({"parts": [TWO_PARTS[0], TWO_PARTS[1] | {"name": "kind"}]}, "kind first"),
        ({"parts": [TWO_PARTS[0], TWO_PARTS[1] | {"name": "sound"}]}, "parts.1.name"),
        ({"parts": []}, "add up to 0"),
        ({"calibration_data": COLUMNS | {"copies": {"kind": [1.0], "look": []}}}, "different lengths"),
        ({"files": {"text.onnx": "0" * 64}}, "tokenizer.json"),
        ({"files": {"../other": "0" * 64}}, "files"),
    ],
)
def test_an_inconsistent_manifest_is_neither_read_nor_written(
    copy: Path, bundle: Bundle, tmp_path: Path, changes: dict[str, Any], sentence: str
) -> None:
    manifest = json.loads((copy / "bundle.json").read_text())
    (copy / "bundle.json").write_text(json.dumps(manifest | changes))
    with pytest.raises(BadBundle, match=sentence):
        load_bundle(copy)
    if "files" not in changes:
        with pytest.raises(BadBundle, match=sentence):
            write_bundle(tmp_path / "model", bundle.network, **described(bundle, **changes))
        assert not (tmp_path / "model").exists()


@pytest.fixture
def complete(bundle: Bundle, tmp_path: Path) -> Bundle:
    """A bundle with every file that format 2 knows."""
    contents = {"photos.csv": f"sha256,split\n{'0' * 64},train\n", "text.onnx": "network", "tokenizer.json": "{}"}
    for name, content in contents.items():
        (tmp_path / name).write_text(content)
    files = {name: tmp_path / name for name in contents}
    return write_bundle(tmp_path / "complete", bundle.network, files=files, **described(bundle))


def test_further_files_are_hashed_and_installed(complete: Bundle, tmp_path: Path) -> None:
    installed = install_bundle(complete, tmp_path / "models")
    for name in ("photos.csv", "text.onnx", "tokenizer.json"):
        content = (installed.folder / name).read_bytes()
        assert content == (complete.folder / name).read_bytes()
        assert complete.manifest.files[name] == hashlib.sha256(content).hexdigest()
    assert load_bundle(installed.folder).manifest == complete.manifest


@pytest.mark.parametrize("name", ["photos.csv", "text.onnx", "tokenizer.json"])
def test_a_further_file_that_is_damaged_or_missing_is_found(complete: Bundle, name: str) -> None:
    with (complete.folder / name).open("a") as file:
        file.write(" ")
    with pytest.raises(BadBundle, match=f"{name} is damaged"):
        load_bundle(complete.folder)
    (complete.folder / name).unlink()
    with pytest.raises(BadBundle, match=f"{name} can't be read"):
        load_bundle(complete.folder)


def test_the_old_bundle_stays_if_the_new_one_cannot_be_moved(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make.bundle(tmp_path / "model", seed=1)
    fail_renames(monkeypatch, lambda path, done: path.name == "fresh")
    with pytest.raises(BadBundle, match="could not be written"):
        write_bundle(tmp_path / "model", bundle.network, **described(bundle))
    assert load_bundle(tmp_path / "model") == old
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("can_exchange", [True, False])
def test_the_old_bundle_is_not_lost_if_renames_fail_midway(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    old = make.bundle(tmp_path / "model", seed=1)
    fail_renames(monkeypatch, lambda path, done: done > 0)
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    with suppress(BadBundle):
        write_bundle(tmp_path / "model", bundle.network, **described(bundle))
    left = {load_bundle(manifest.parent).model_id for manifest in tmp_path.glob("*/bundle.json")}
    assert left == ({bundle.model_id} if can_exchange else {old.model_id})


def test_the_message_says_where_the_old_bundle_is(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make.bundle(tmp_path / "model", seed=1)
    fail_renames(monkeypatch, lambda path, done: done > 0)
    monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    with pytest.raises(BadBundle, match="the replaced folder is now") as raised:
        write_bundle(tmp_path / "model", bundle.network, **described(bundle))
    place = Path(raised.value.message.rpartition(" is now ")[2].removesuffix(")."))
    assert load_bundle(place).manifest == old.manifest


def fail_renames(monkeypatch: pytest.MonkeyPatch, fails: Callable[[Path, int], bool]) -> None:
    """Let the renames of `retrieval` fail for which a function of the path and the number of earlier ones is true."""
    rename, done = Path.rename, []

    def rename_or_fail(path: Path, target: Path) -> Path:
        if fails(path, len(done)):
            raise OSError(errno.EIO, "Input/output error")
        renamed = rename(path, target)
        done.append(path)
        return renamed

    monkeypatch.setattr(Path, "rename", rename_or_fail)


def test_a_bundle_is_replaced_in_one_step(bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make.bundle(tmp_path / "model", seed=1).folder
    seen: list[bool] = []

    def look(path: Path, done: int) -> bool:
        seen.append((folder / "bundle.json").exists())
        return False

    fail_renames(monkeypatch, look)
    write_bundle(folder, bundle.network, **described(bundle))
    assert load_bundle(folder).model_id == bundle.model_id
    assert seen and all(seen)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_several_processes_install_the_same_bundle_at_once(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
) -> None:
    if not can_exchange:
        monkeypatch.setattr(files, "_exchange", lambda first, second: False)
    start = threading.Barrier(4)

    def install(round: int) -> Bundle:
        start.wait()
        return install_bundle(bundle, tmp_path / f"{round}")

    with ThreadPoolExecutor(4) as threads:
        for round in range(15):
            installed = threads.map(install, [round] * 4)
            assert {one.manifest.model_id for one in installed} == {bundle.model_id}
            assert [path.name for path in (tmp_path / f"{round}").iterdir()] == [bundle.model_id]
            load_bundle(tmp_path / f"{round}" / bundle.model_id)
