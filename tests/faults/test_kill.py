"""A job that was killed at any moment completes when it is run again.

`LOOKALIKE_TEST_KILLS=50` kills fifty times; without it there are four kills.
"""

import json
import math
import os
import random
import time
from pathlib import Path

import pytest

KILLS = int(os.environ.get("LOOKALIKE_TEST_KILLS", "4"))
KILLS_A_HOME = 4


@pytest.fixture
def undisturbed(start_index, large_library: Path, tmp_path: Path) -> tuple[Path, float]:
    """A home with the complete index, and the duration of the job in seconds."""
    home = tmp_path / "undisturbed"
    job = start_index(large_library, home)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    return home, json.loads(out)["seconds"]


@pytest.mark.slow
@pytest.mark.timeout(120 + 30 * KILLS)
def test_after_any_kill_the_next_run_completes_the_index(
    start_index, points_of, undisturbed: tuple[Path, float], large_library: Path, tmp_path: Path
) -> None:
    complete, seconds = undisturbed
    expected = points_of(complete)
    rng = random.Random(1)
    for number in range(math.ceil(KILLS / KILLS_A_HOME)):
        home = tmp_path / f"killed-{number}"
        for _ in range(min(KILLS, KILLS_A_HOME)):
            job = start_index(large_library, home)
            _wait_for_a_new_job(home, moment=rng.random())
            time.sleep(rng.uniform(0, seconds / 2))
            job.kill()
            job.communicate()
        job = start_index(large_library, home)
        out, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        result = json.loads(out)
        assert result["seen"] == len(expected)
        assert result["indexed"] + result["unchanged"] == len(expected)
        assert points_of(home) == expected


def _wait_for_a_new_job(home: Path, moment: float) -> None:
    """Three times in four, wait until photos are being indexed; once in four, kill the process while it starts."""
    before = len(list(home.glob("jobs/*/job.json")))
    end = time.monotonic() + (20 if moment < 0.75 else 0.3)
    while len(list(home.glob("jobs/*/job.json"))) == before and time.monotonic() < end:
        time.sleep(0.002)
