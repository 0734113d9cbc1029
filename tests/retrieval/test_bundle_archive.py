"""Bundles in ZIP archives: which are installed, and that nothing of the others is."""

import io
import zipfile
from pathlib import Path

import pytest

from retrieval.bundle import Bundle, load_bundle
from retrieval.bundle_archive import install_archive
from retrieval.errors import BadBundle


def archived(files: dict[str, bytes]) -> io.BytesIO:
    """A ZIP archive."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return archive


def files_of(bundle: Bundle, folder: str = "") -> dict[str, bytes]:
    return {f"{folder}{path.name}": path.read_bytes() for path in bundle.folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("folder", ["", "my-model/"])
def test_a_bundle_is_installed_without_other_files(bundle: Bundle, tmp_path: Path, folder: str) -> None:
    archive = archived(files_of(bundle, folder) | {f"{folder}training/report.html": b"", "__MACOSX/bundle.txt": b""})
    installed = install_archive(archive, tmp_path)
    assert installed.manifest == bundle.manifest == load_bundle(tmp_path / bundle.model_id).manifest
    assert {path.name for path in tmp_path.rglob("*")} == {bundle.model_id, *files_of(bundle)}


@pytest.mark.parametrize("name", ["../evil.txt", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil", "C:/evil"])
def test_a_path_that_leaves_the_archive_is_refused(bundle: Bundle, tmp_path: Path, name: str) -> None:
    with pytest.raises(BadBundle, match="path that leaves it"):
        install_archive(archived(files_of(bundle) | {name: b"evil"}), tmp_path / "models")
    assert [path.name for path in tmp_path.rglob("*")] == ["models"]


def test_what_is_no_bundle_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    whole = files_of(bundle)
    refused = {
        "not a ZIP archive": io.BytesIO(b"no archive"),
        "can be read": io.BytesIO(archived(whole).getvalue()[:-200]),
        "no bundle.json": archived({"photo.jpg": b"\xff\xd8"}),
        "several model bundles": archived(files_of(bundle, "a/") | files_of(bundle, "b/")),
        "^embedder.onnx is damaged": archived(whole | {"embedder.onnx": b"another"}),
        "^embedder.onnx can't be read": archived({name: data for name, data in whole.items() if "onnx" not in name}),
        "more than 2,000 MB": too_large(whole),
    }
    for message, archive in refused.items():
        with pytest.raises(BadBundle, match=message):
            install_archive(archive, tmp_path)
    assert not list(tmp_path.iterdir())


def too_large(files: dict[str, bytes]) -> io.BytesIO:
    """An archive that says that one of its files is larger than permitted."""
    archive = archived(files | {"zeros": b"0"})
    content = archive.getvalue()
    start = content.rindex(b"PK\x01\x02")
    return io.BytesIO(content[: start + 24] + (2_001_000_000).to_bytes(4, "little") + content[start + 28 :])
