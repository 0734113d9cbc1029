"""A `--sync` that is killed at any moment, while folders are renamed and unmounted, removes no photo that exists.

`LOOKALIKE_TEST_KILLS=50` kills fifty times; without it there are four kills, one after each kind of change.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import make
import pytest

from retrieval.bundle import Bundle
from retrieval.index.embedded import EmbeddedStore
from retrieval.photo_ref import uri_of

KILLS = int(os.environ.get("LOOKALIKE_TEST_KILLS", "4"))


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Sixty photos in three folders."""
    return make.library(tmp_path / "photos", per_label=20)


def sync(library: Path, bundle: Bundle) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "lookalike", "index", library, "--sync", "--bundle", bundle.folder, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def indexed(home: Path, bundle: Bundle) -> dict[str, str]:
    """The URI of each photo in the index, by its content."""
    with EmbeddedStore(home / "index").open(bundle.model_id, bundle.dimension) as index:
        photos = [payload for _, payload in index.scroll_payloads()]
    assert len({photo.uri for photo in photos}) == len(photos)
    return {photo.sha256: photo.uri for photo in photos}


def disturb(library: Path, rng: random.Random, kind: int) -> None:
    """Delete a photo, rename a folder, swap photos, or empty a folder as if it were unmounted.

    The last of these is undone the next time.
    """
    aside = library.parent / "unmounted"
    for folder in aside.glob("*"):
        shutil.rmtree(library / folder.name)
        folder.rename(library / folder.name)
    folders = sorted(library.iterdir())
    match kind:
        case 0:
            rng.choice(sorted(library.rglob("*.jpg"))).unlink()
        case 1:
            folders[0].rename(library / f"folder-{rng.randrange(1_000_000)}")
        case 2:
            photos = rng.sample(sorted(library.rglob("*.jpg")), 10)
            contents = [photo.read_bytes() for photo in photos]
            for photo, content in zip(photos, contents[1:] + contents[:1], strict=True):
                photo.write_bytes(content)
        case _:
            aside.mkdir(exist_ok=True)
            folders[-1].rename(aside / folders[-1].name)
            folders[-1].mkdir()


@pytest.mark.slow
@pytest.mark.timeout(120 + 30 * KILLS)
def test_a_killed_sync_removes_nothing_that_exists(
    settings: object, library: Path, bundle: Bundle, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    start = time.monotonic()
    out, err = (job := sync(library, bundle)).communicate(timeout=120)
    seconds = time.monotonic() - start
    assert job.returncode == 0, err
    contents = indexed(home, bundle)
    assert len(contents) == 60
    rng = random.Random(1)
    for number in range(KILLS):
        disturb(library, rng, number % 4)
        job = sync(library, bundle)
        time.sleep(rng.uniform(seconds / 4, seconds))
        job.kill()
        job.communicate()
        left = indexed(home, bundle)
        present = {uri_of(path) for path in tmp_path.rglob("photos/*/*.jpg")}
        assert {uri for uri in contents.values() if uri in present} <= set(left.values())
        contents = left
    for folder in (tmp_path / "unmounted").glob("*"):
        shutil.rmtree(library / folder.name)
        folder.rename(library / folder.name)
    out, err = (job := sync(library, bundle)).communicate(timeout=120)
    assert job.returncode == 0, err
    assert json.loads(out)["removal_refused"] == []
    assert set(indexed(home, bundle).values()) == {uri_of(path) for path in library.rglob("*.jpg")}
