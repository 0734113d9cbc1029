"""Bundles in ZIP archives, as they are uploaded."""

import shutil
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, get_args
from zipfile import BadZipFile, ZipFile, ZipInfo

from retrieval.bundle import MANIFEST, NETWORK, Bundle, install_bundle, load_bundle
from retrieval.bundle_format import FileName
from retrieval.embedder import Embedder
from retrieval.errors import BadBundle, os_errors_as
from retrieval.files import make_folder
from retrieval.photo_ref import display

WANTED = (MANIFEST, NETWORK, *get_args(FileName))  # the files that serving needs
MAX_UNPACKED_MB = 2000
MOST_ENTRIES = 10_000
ZIP_AGAIN = "Make a ZIP archive of the folder that `lookalike train` wrote."


def install_archive(file: IO[bytes], models_folder: Path) -> Bundle:
    """Install the bundle of a ZIP archive, with its files at the top or in one folder; other files are ignored.

    Raises `BadBundle` if it is not such an archive or a path in it leaves it, or if the bundle is too large, damaged or
    its network can't run. Then nothing is installed.
    """
    with os_errors_as(BadBundle, "The model can't be installed", "Free disk space on the server."):
        make_folder(models_folder)
        with tempfile.TemporaryDirectory(dir=models_folder, prefix=".upload-") as temporary:
            unpacked = Path(temporary, "bundle")
            unpacked.mkdir()
            _unpack(file, unpacked)
            try:
                bundle = load_bundle(unpacked)
                Embedder(bundle, threads=1)
            except BadBundle as error:
                raise BadBundle(error.message.replace(f"{unpacked}/", ""), error.remedy) from None
            return install_bundle(bundle, models_folder)


def _unpack(file: IO[bytes], folder: Path) -> None:
    """Write the wanted files of an archive to a folder."""
    try:
        with ZipFile(file) as archive:
            for entry in _wanted(archive.infolist()):
                with archive.open(entry) as packed, (folder / PurePosixPath(entry.filename).name).open("wb") as target:
                    shutil.copyfileobj(packed, target)
    # Of zipfile: RuntimeError for encrypted files, NotImplementedError for other compressions.
    except (BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError, ValueError):
        raise BadBundle("The file is not a ZIP archive that can be read.", ZIP_AGAIN) from None


def _wanted(entries: list[ZipInfo]) -> list[ZipInfo]:
    """Return the wanted files of an archive; raises `BadBundle` if it has none, or may do harm."""
    if len(entries) > MOST_ENTRIES or sum(entry.file_size for entry in entries) > MAX_UNPACKED_MB * 1_000_000:
        raise BadBundle(
            f"The archive has more than {MOST_ENTRIES:,} files, or more than {MAX_UNPACKED_MB:,} MB.",
            "Archive the bundle alone, without other files.",
        )
    for entry in entries:
        if _leaves(entry.filename):
            raise BadBundle(f"The archive has a path that leaves it: {display(entry.filename)}.", ZIP_AGAIN)
    manifests = [path for path in map(_path, entries) if path.name == MANIFEST and len(path.parts) <= 2]
    if len(manifests) != 1:
        found = "has several model bundles" if manifests else f"is not a model bundle: it has no {MANIFEST}"
        raise BadBundle(f"The archive {found}.", ZIP_AGAIN)
    folder = manifests[0].parent
    return [entry for entry in entries if _path(entry).parent == folder and _path(entry).name in WANTED]


def _path(entry: ZipInfo) -> PurePosixPath:
    return PurePosixPath(entry.filename)


def _leaves(name: str) -> bool:
    """Whether a path in an archive is absolute or leads out of the folder to which it would be unpacked."""
    return name.startswith("/") or "\\" in name or ":" in name or ".." in PurePosixPath(name).parts
