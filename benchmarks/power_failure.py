"""Cut the power of a disk at random moments while Lookalike writes to it, and compare what is left with what it said.

    python benchmarks/power_failure.py --bundle BUNDLE --photos FOLDER --moments 50

The disk is an ext4 file system in a file, which requires root. A failure is ext4's shutdown without flushing its
journal: writes that were not flushed are lost, those that the kernel wrote back earlier are not. In half of the
failures, some files are written back in a random order before, as the kernel may do, so that names are on the disk
without contents, and parts of the index without the others. The disk's own cache is not simulated: what reached the
disk stays.

After each failure a new process opens the home. Everything that was acknowledged must be there: uploaded photos (file
and point), removed photos, batches of jobs, the current and the previous model, and installed bundles.
"""

import argparse
import fcntl
import hashlib
import json
import os
import random
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from pathlib import Path
from typing import Any

from options import bundle_and_photos, show

from indexer import batch
from indexer.corrections import Corrections
from indexer.jobs import IndexRequest, list_jobs
from indexer.model_registry import installed
from indexer.runner import run_job
from retrieval.bundle import Bundle, install_bundle, load_bundle, write_bundle
from retrieval.cancellation import CancellationToken
from retrieval.current_model import open_searcher
from retrieval.index import open_store
from retrieval.index.edge import EmbeddedIndex
from retrieval.listing import list_photos
from retrieval.photo_ref import path_of, uri_of
from retrieval.search import Searcher
from retrieval.settings import Settings
from web.uploads import Uploads

EXT4_IOC_SHUTDOWN = 0x8004587D
WITHOUT_JOURNAL = 2  # EXT4_GOING_FLAGS_NOLOGFLUSH
DISK_BYTES = 2 << 30  # of a sparse file
LONGEST_SECONDS = 3.0  # of writing before a failure
PHOTOS_OF_A_JOB = 48


def main() -> None:
    """Cut the power at each moment, print what was found, and exit with 1 if anything acknowledged was lost."""
    options = _options()
    if options.role == "write":
        Writer(options.home, options.bundle, options.photos, options.seed).write()
    elif options.role == "check":
        print(json.dumps(found(options.home)))
    else:
        result = measure(options.bundle, options.photos, options.moments, options.seed)
        show(result, options.json)
        sys.exit(1 if result["lost"] else 0)


def measure(bundle: Path, photos: Path, moments: int, seed: int = 0) -> dict[str, Any]:
    """Return how many failures there were, what was acknowledged before them, and what of it was lost.

    Raises `OSError` or `subprocess.CalledProcessError` if no file system can be mounted.
    """
    rng = random.Random(seed)
    acknowledged, lost = 0, list[str]()
    with losing_disk() as disk, tempfile.TemporaryDirectory() as outside:
        twin = _twin(load_bundle(bundle), Path(outside, "twin"))
        expected = Expected()
        for moment in range(moments):
            words = ["--bundle", str(bundle), "--photos", str(photos), "--seed", str(seed + moment)]
            environment = os.environ | {"TWIN": str(twin), "OUTSIDE": outside}
            with _process("write", disk.folder / "home", *words, env=environment) as writer:
                assert writer.stdout is not None
                _read(writer, expected, until="ready")
                time.sleep(rng.uniform(0, LONGEST_SECONDS))
                if rng.random() < 0.5:
                    _write_back(disk.folder, rng)
                disk.cut_power()
                writer.kill()
                _read(writer, expected)
            disk.repair()
            lost += [f"failure {moment}: {what}" for what in _compared(disk.folder / "home", expected, bundle, photos)]
            acknowledged += expected.acknowledged
            expected.acknowledged = 0
            if lost:
                break
    return {"failures": moment + 1, "acknowledged": acknowledged, "lost": lost}


class Disk:
    """A file system that loses what was not flushed."""

    def __init__(self, folder: Path, image: Path) -> None:
        self.folder, self._image = folder, image

    def cut_power(self) -> None:
        """Stop all writes to the disk; programs then get errors."""
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, EXT4_IOC_SHUTDOWN, struct.pack("I", WITHOUT_JOURNAL))
        finally:
            os.close(descriptor)

    def mount(self) -> None:
        """Mount it; ext4 neither flushes on its own accord nor repairs renames that were not flushed."""
        options = "loop,noauto_da_alloc,commit=1000"
        subprocess.run(["mount", "-o", options, self._image, self.folder], check=True, capture_output=True)

    def unmount(self) -> None:
        """Unmount it once its last program has ended."""
        for attempt in count():
            done = subprocess.run(["umount", self.folder], check=False, capture_output=True, text=True)
            if done.returncode == 0:
                return
            if attempt == 100:
                raise OSError(done.stderr)
            time.sleep(0.1)

    def repair(self) -> None:
        """Mount it again, which replays its journal."""
        self.unmount()
        self.mount()


@contextmanager
def losing_disk() -> Iterator[Disk]:
    """A new disk."""
    with tempfile.TemporaryDirectory() as place:
        image, folder = Path(place, "image"), Path(place, "disk")
        folder.mkdir()
        image.touch()
        os.truncate(image, DISK_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
        disk = Disk(folder, image)
        disk.mount()
        try:
            yield disk
        finally:
            disk.unmount()


class Writer:
    """Writes everything that Lookalike writes, and prints a line for each write that is acknowledged or begun."""

    def __init__(self, home: Path, bundle: Path, photos: Path, seed: int) -> None:
        self._settings = Settings(home=home, embedding_threads=1)
        self._bundles = [load_bundle(bundle), load_bundle(Path(os.environ["TWIN"]))]
        self._rng = random.Random(seed)
        self._photos = [photo.path for photo in islice(list_photos(photos), 2000)]
        self._round = seed
        batch.BATCH = 8
        EmbeddedIndex.FULL_SCAN_POINTS = 100  # so that jobs build a graph

    def write(self) -> None:
        """Write until the process is killed."""
        with open_store(self._settings) as store:
            for bundle in self._bundles:
                install_bundle(bundle, self._settings.models_folder)
                _say(installed=bundle.model_id)
                store.open(bundle.model_id, bundle.dimension, bundle.look).flush()
            with open_searcher(
                self._settings.model_copy(update={"bundle": self._bundles[0].folder}), store
            ) as searcher:
                uploads = Uploads(self._settings, nullcontext(), Corrections(self._settings.home))
                _say(ready=True)
                for bundle in cycle(self._bundles):
                    self._upload(uploads, searcher)
                    self._activate(store, bundle)
                    self._index(store)
                    self._upload(uploads, searcher)
                    self._remove(uploads, searcher)

    def _upload(self, uploads: Uploads, searcher: Searcher) -> None:
        for _ in range(5):
            data = self._rng.choice(self._photos).read_bytes() + self._rng.randbytes(8)
            photo = uploads.add(searcher, data, self._rng.choice(["red", "blue", None])).id
            _say(uploaded=searcher.index.get([photo])[photo].uri)

    def _remove(self, uploads: Uploads, searcher: Searcher) -> None:
        folder = self._settings.home / "uploads"
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith(".")]
        for path in self._rng.sample(files, min(3, len(files))):
            uri = uri_of(path)
            _say(removing=uri)
            uploads.remove(searcher.index, searcher.index.named([uri])[uri])
            _say(removed=uri)

    def _activate(self, store: Any, bundle: Bundle) -> None:
        _say(activating=bundle.model_id)
        store.activate(bundle.model_id)
        _say(activated=bundle.model_id)

    def _index(self, store: Any) -> None:
        """Index some photos with a label that no job had before."""
        self._round += 1000
        label = f"job {self._round}"
        photos = self._rng.sample(self._photos, min(PHOTOS_OF_A_JOB, len(self._photos)))
        manifest = Path(os.environ["OUTSIDE"], f"{self._round}.csv")
        manifest.write_text("path,label\n" + "".join(f"{photo.absolute()},{label}\n" for photo in photos))
        _say(indexing=label)
        run_job(
            self._settings,
            store,
            IndexRequest([str(manifest)], bundle=self._bundles[0].folder),
            CancellationToken(),
            lambda job: _say(indexed=job.indexed, label=label),
        )


@dataclass
class Expected:
    """What the writer has said."""

    uploaded: set[str] = field(default_factory=set)
    removed: set[str] = field(default_factory=set)
    removing: str | None = None
    models: set[str] = field(default_factory=set)
    current: set[str | None] = field(default_factory=lambda: {None})  # one of them
    label: str = ""
    indexed: int = 0
    acknowledged: int = 0

    def add(self, said: dict[str, Any]) -> None:
        """Add a line of the writer."""
        match said:
            case {"installed": model}:
                self.models.add(model)
            case {"uploaded": uri}:
                self.uploaded.add(uri)
            case {"removing": uri}:
                self.removing = uri
                self.uploaded.discard(uri)
            case {"removed": uri}:
                self.removing = None
                self.removed.add(uri)
            case {"activating": model}:
                self.current.add(model)
            case {"activated": model}:
                self.current = {model}
            case {"indexing": label}:
                self.label, self.indexed = label, 0
            case {"indexed": indexed}:
                self.indexed = indexed
        self.acknowledged += any(name in said for name in ("installed", "uploaded", "removed", "activated", "indexed"))


def found(home: Path) -> dict[str, Any]:
    """Return what a home contains after a failure; run in a new process."""
    settings = Settings(home=home)
    with open_store(settings) as store:
        models = {model: load_bundle(folder) for model, folder in installed(settings).items()}
        indexes = {model: store.open(model, of.dimension, of.look) for model, of in models.items()}
        points = {point.payload.uri: point.payload for index in indexes.values() for point in index.scroll()}
        uploads = {uri: payload.sha256 for uri, payload in points.items() if _is_upload(uri, home)}
        labels = [payload.label for uri, payload in points.items() if uri not in uploads]
        return {
            "models": sorted(models),
            "current": store.current(),
            "previous": store.previous(),
            "points": uploads,
            "files": {path.absolute().as_uri(): _sha256(path) for path in _files(home / "uploads")},
            "labels": {str(label): labels.count(label) for label in set(labels)},
            "jobs": [job.model_dump() for job in list_jobs(settings)],
            "records": len(list(settings.jobs_folder.glob("*/job.json"))),
        }


def _compared(home: Path, expected: Expected, bundle: Path, photos: Path) -> list[str]:
    """Return what was acknowledged and is not there."""
    with _process("check", home, "--bundle", str(bundle), "--photos", str(photos)) as checking:
        out, _ = checking.communicate()
    if checking.returncode:
        return ["the home can't be opened"]
    there = json.loads(out)
    points, files = there["points"], there["files"]
    problems = [f"the model {model}" for model in expected.models - set(there["models"])]
    problems += [f"the point of {uri}" for uri in expected.uploaded if uri not in points]
    problems += [f"the file of {uri}" for uri in expected.uploaded if files.get(uri) != Path(path_of(uri)).stem]
    gone = expected.removed - {expected.removing}
    problems += [f"the removal of {uri}" for uri in gone if uri in points or uri in files]
    if there["current"] not in expected.current:
        problems.append(f"the current model: {there['current']} instead of {expected.current}")
    if there["current"] is not None and there["previous"] == there["current"]:
        problems.append("the previous model")
    if there["labels"].get(expected.label, 0) < expected.indexed:
        problems.append(f"{expected.indexed} photos of {expected.label}: {there['labels'].get(expected.label, 0)}")
    if len(there["jobs"]) != there["records"]:
        problems.append("a record of a job")
    expected.current = {there["current"]}
    expected.removing, expected.label, expected.indexed = None, "", 0
    return problems


def _read(writer: "subprocess.Popen[str]", expected: Expected, until: str | None = None) -> None:
    """Add what the writer says, until it says a word or ends."""
    assert writer.stdout is not None
    for line in writer.stdout:
        if not line.endswith("\n"):
            return
        said = json.loads(line)
        expected.add(said)
        if until in said:
            return
    if until:
        raise RuntimeError("The writer failed.")


def _write_back(folder: Path, rng: random.Random) -> None:
    """Flush some files in a random order, as the kernel may at any time."""
    paths = _files(folder, hidden=True)
    for path in rng.sample(paths, len(paths) // 3):
        with suppress(OSError):
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _files(folder: Path, *, hidden: bool = False) -> list[Path]:
    return [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in sorted(names)
        if hidden or not name.startswith(".")
    ]


def _twin(bundle: Bundle, folder: Path) -> Path:
    """Write the same network as another model."""
    fields = bundle.manifest.model_dump(exclude={"model_id", "format_version", "files"}) | {"backbone": "twin"}
    files = {name: bundle.folder / name for name in bundle.manifest.files}
    return write_bundle(folder, bundle.network, files=files, **fields).folder


@contextmanager
def _process(
    role: str, home: Path, *words: str, env: dict[str, str] | None = None
) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, __file__, "--role", role, "--home", str(home), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=env) as process:
        yield process


def _is_upload(uri: str, home: Path) -> bool:
    return path_of(uri).is_relative_to((home / "uploads").absolute())


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _say(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def _options() -> argparse.Namespace:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--moments", type=int, default=50, help="number of failures")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--role", choices=["measure", "write", "check"], default="measure", help=argparse.SUPPRESS)
    parser.add_argument("--home", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
