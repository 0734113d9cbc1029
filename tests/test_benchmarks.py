"""The report of the benchmarks, from what a script really found."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import make
import pytest

from retrieval.bundle import Bundle

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
sys.path.append(str(BENCHMARKS))


@pytest.mark.slow
def test_mixed_requests_are_not_refused(bundle: Bundle, library: Path, tmp_path: Path) -> None:
    other = make.bundle(tmp_path / "other", dimension=8, seed=7)
    bundles = ["--bundle", bundle.folder, "--other", other.folder]
    found = run("mixed_load", *bundles, "--photos", library, "--requests", "60", "--clients", "8")
    assert found["requests"] == 60 and found["jobs_started"] > 0
    assert (found["refused"], found["first_refused"]) == (0, [])


@pytest.mark.slow
def test_a_model_with_many_photos_is_activated_by_a_job(bundle: Bundle, library: Path, tmp_path: Path) -> None:
    other = make.bundle(tmp_path / "other", dimension=8, seed=7)
    bundles = ["--bundle", bundle.folder, "--other", other.folder]
    found = run("activation", *bundles, "--photos", library, "--points", "20000", "--folder", tmp_path)
    assert (found["status"], found["state"], found["error"]) == (202, "done", None)
    assert found["held"]


def run(script: str, *options: object) -> dict[str, Any]:
    """What a benchmark finds."""
    done = subprocess.run(
        [sys.executable, BENCHMARKS / f"{script}.py", *options, "--json"],
        cwd=BENCHMARKS.parent,
        env=os.environ | {"PYTHONPATH": str(BENCHMARKS.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_a_report_shows_what_a_script_found_and_names_what_failed(bundle: Bundle, library: Path, tmp_path: Path):
    from report import Failed, write_report  # noqa: PLC0415 - imports matplotlib

    script = BENCHMARKS / "batches_and_threads.py"
    command = [sys.executable, script, "--bundle", bundle.folder, "--photos", library, "--json"]
    quick = ["--seconds", "0.01", "--runs", "1"]
    done = subprocess.run(
        [*command, *quick],
        cwd=BENCHMARKS.parent,
        env={"PYTHONPATH": str(BENCHMARKS.parent)},
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)

    write_report(tmp_path, {"batches_and_threads": found, "growth": Failed("the disk is full")}, "24 photos")

    text = (tmp_path / "results.md").read_text()
    medians = [of["batch_4"]["median"] for name, of in found.items() if name.endswith(("_call", "_by_side"))]
    (row,) = [line for line in text.splitlines() if line.startswith("| batch 4 |")]
    assert [float(cell.split()[0]) for cell in row.split("|")[2:-1]] == pytest.approx(medians, rel=1e-3)
    assert "It was not measured: the disk is full." in text
    assert "charts/batches.svg" in text
    assert "growth.svg" not in text
    assert (tmp_path / "charts" / "batches.svg").stat().st_size < 200_000
