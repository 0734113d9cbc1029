"""A disk that fills up while photos are indexed: one sentence, and nothing that was indexed is lost."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import small_disk

DISK_BYTES = 200 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small, separate disk."""
    with small_disk(tmp_path / "disk", DISK_BYTES) as disk:
        yield disk


def fill(disk: Path, leave_megabytes: int = 0, pause: float = 0.0) -> Path:
    """Fill the disk except for the given megabytes, with a pause after each; return the file to delete."""
    filler = disk / "filler"
    megabyte = b"\1" * 1_000_000
    with filler.open("wb", buffering=0) as file:
        try:
            while (status := os.statvfs(disk)).f_bavail * status.f_frsize > leave_megabytes * 1_000_000:
                file.write(megabyte)
                time.sleep(pause)
        except OSError:
            assert leave_megabytes == 0
    return filler


def finish(job: subprocess.Popen[str]) -> tuple[int, dict[str, object], str]:
    out, err = job.communicate(timeout=60)
    return job.returncode, json.loads(out), err


@pytest.mark.slow
@pytest.mark.parametrize("leave_megabytes", [0, 50], ids=["not a byte left", "less than is safe"])
def test_a_full_disk_refuses_new_photos_and_keeps_the_old_ones(
    leave_megabytes: int, start_index, points_of, large_library: Path, disk: Path
) -> None:
    home = disk / "home"
    assert finish(start_index(large_library / "red", home))[0] == 0
    before, done = points_of(home), set(home.glob("jobs/*/job.json"))
    filler = fill(disk, leave_megabytes)
    status, result, err = finish(start_index(large_library, home))
    assert status == 1
    assert "is full" in result["error"]
    assert "Free disk space" in result["remedy"]
    assert "Traceback" not in err
    if leave_megabytes:  # so that the job can still write its record
        (failed,) = set(home.glob("jobs/*/job.json")) - done
        record = json.loads(failed.read_text())
        assert record["state"] == "failed"
        assert "is full" in record["error"]
    filler.unlink()
    assert points_of(home) == before
    status, result, _ = finish(start_index(large_library, home))
    assert (status, result["seen"]) == (0, 360)
    assert len(points_of(home)) == 360


@pytest.mark.slow
def test_a_disk_that_fills_up_midway_ends_the_job_with_a_sentence(
    start_index, points_of, large_library: Path, disk: Path, tmp_path: Path
) -> None:
    home = disk / "home"
    job = start_index(large_library, home)
    first_batch_is_stored = home / "index" / "current.json"
    while not first_batch_is_stored.exists() and job.poll() is None:
        time.sleep(0.001)
    filler = fill(disk, pause=0.001)
    status, result, err = finish(job)
    assert status == 1
    assert "Traceback" not in err
    assert "Its former contents are kept" in result["remedy"] or "Indexed photos are kept" in result["remedy"]
    filler.unlink()
    kept = len(points_of(home))
    assert 0 < kept < 360
    status, result, _ = finish(start_index(large_library, home))
    assert status == 0
    assert kept <= result["unchanged"] <= 360
    complete = start_index(large_library, tmp_path / "undisturbed")
    assert finish(complete)[0] == 0
    assert points_of(home) == points_of(tmp_path / "undisturbed")
