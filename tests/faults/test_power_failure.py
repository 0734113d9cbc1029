"""After a power failure at any moment, the home opens, and nothing that was acknowledged is lost.

`LOOKALIKE_TEST_POWER_FAILURES=50` fails fifty times. It requires root, to mount a file system that loses writes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from retrieval.bundle import Bundle

FAILURES = os.environ.get("LOOKALIKE_TEST_POWER_FAILURES", "3")
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.timeout(120 + 60 * int(FAILURES))
def test_a_power_failure_loses_nothing_that_was_acknowledged(bundle: Bundle, large_library: Path) -> None:
    if os.geteuid() != 0 or not Path("/dev/loop-control").exists():
        pytest.skip("a file system that loses writes can't be mounted here")
    script = [sys.executable, ROOT / "benchmarks" / "power_failure.py", "--bundle", bundle.folder]
    done = subprocess.run(
        [*script, "--photos", large_library, "--moments", FAILURES, "--json"],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    result = json.loads(done.stdout)
    assert result["lost"] == []
    assert result["failures"] == int(FAILURES)
    assert result["acknowledged"] > 0
