"""`lookalike worker` compared with a Celery prefork worker that runs Keras: memory, photos per second.

    python benchmarks/worker_peer.py --bundle FLOAT32 --photos FOLDER [--runs 3]

Both receive batches from one Redis server, compute in one process on all cores, and are warmed up before the
measurement. The baseline (`keras_worker.py`) imports TensorFlow in this process only, after the fork, decodes with
tf.data and returns the embeddings as bytes. Ours hashes, decodes, embeds and writes to an index server on the same
cores: the one at LOOKALIKE_TEST_QDRANT_URL, or the one of the tests.

Memory is the resident memory of a worker and its child after work, the maximum over all turns: with shared pages
counted once (`resident_mb`, the sum of proportional set sizes), and as the sum of both (`sum_of_rss_mb`).
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))

import psutil
from keras_model import quiet_environment, write_keras_model
from machines import Machines
from options import bundle_and_photos, show
from timing import spread

from indexer.batch import BATCH
from indexer.batches import batches
from retrieval.bundle import load_bundle
from retrieval.cores import usable_cores
from retrieval.listing import list_photos

HERE = Path(__file__).parent


def main() -> None:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        cosine = write_keras_model(folder, options.photos, [options.bundle])
        machines = Machines(folder, load_bundle(options.bundle), workers=0, durable=False)
        try:
            machines.environment["LOOKALIKE_EMBEDDING_THREADS"] = str(usable_cores())
            machines.workers.append(machines.start_worker())
            with _keras_worker(folder, machines.redis_url) as peer:
                result = measure(machines, peer, options.photos, options.runs)
        finally:
            machines.close()
    show({"cosine_with_keras": cosine} | result, options.json)


def measure(machines: Machines, peer: subprocess.Popen[bytes], photos: Path, runs: int) -> dict[str, Any]:
    """Megabytes and photos per second of both, and the ratios."""
    folders = [_by_other_names(photos, machines.folder / f"turn-{run}") for run in range(runs + 1)]
    rates: dict[str, list[float]] = {"lookalike": [], "keras": []}
    memory: dict[str, list[tuple[float, float]]] = {"lookalike": [], "keras": []}
    for folder in folders:
        rates["lookalike"].append(_rate_of_ours(machines, folder))
        memory["lookalike"].append(_resident_mb(machines.workers[0].pid))
        rates["keras"].append(_rate_of_keras(machines.redis_url, folder))
        memory["keras"].append(_resident_mb(peer.pid))
    result: dict[str, Any] = {"photos": len(list(folders[0].iterdir()))}
    for name in rates:
        proportional, plain = map(max, zip(*memory[name], strict=True))
        result[name] = {
            "images_per_second": spread(rates[name][1:]),
            "resident_mb": round(proportional),
            "sum_of_rss_mb": round(plain),
        }
    ours, theirs = result["lookalike"], result["keras"]
    result["memory_ratio"] = round(ours["resident_mb"] / theirs["resident_mb"], 3)
    result["ratio_of_rss"] = round(ours["sum_of_rss_mb"] / theirs["sum_of_rss_mb"], 3)
    median = "median"
    result["times_faster"] = round(ours["images_per_second"][median] / theirs["images_per_second"][median], 2)
    return result


def _rate_of_ours(machines: Machines, folder: Path) -> float:
    job = machines.start_index(folder)
    out, err = job.communicate(timeout=600)
    if job.returncode != 0:
        raise RuntimeError(err)
    done = json.loads(out)
    assert done["indexed"] == done["seen"] > 0
    return float(done["images_per_second"])


def _rate_of_keras(redis_url: str, folder: Path) -> float:
    os.environ["BROKER_URL"] = redis_url
    from keras_worker import embed  # noqa: PLC0415 - it reads the address

    paths = [str(path) for path in sorted(folder.iterdir())]
    start = time.perf_counter()
    pending = [embed.delay(batch) for batch in batches(paths, BATCH)]
    assert sum(answer.get(timeout=600)["photos"] for answer in pending) == len(paths)
    return len(paths) / (time.perf_counter() - start)


@contextmanager
def _keras_worker(folder: Path, redis_url: str) -> Iterator[subprocess.Popen[bytes]]:
    environment = quiet_environment() | {"BROKER_URL": redis_url, "MODEL_FOLDER": str(folder)}
    command = [sys.executable, "-m", "celery", "--app", "keras_worker", "worker", "--pool", "prefork"]
    with (folder / "keras.log").open("wb") as log:
        worker = subprocess.Popen([*command, "--concurrency", "1"], cwd=HERE, env=environment, stdout=log, stderr=log)
        try:
            yield worker
        finally:
            worker.terminate()
            worker.wait()


def _by_other_names(photos: Path, folder: Path) -> Path:
    """The same photos under new names, which no index contains."""
    folder.mkdir()
    for number, photo in enumerate(list_photos(photos)):
        (folder / f"{number}{photo.path.suffix}").symlink_to(photo.path.resolve())
    return folder


def _resident_mb(worker: int) -> tuple[float, float]:
    """A worker and its children: the sums of proportional and of resident set sizes."""
    process = psutil.Process(worker)
    known = [each.memory_full_info() for each in (process, *process.children(recursive=True))]
    return sum(of.pss for of in known) / 1e6, sum(of.rss for of in known) / 1e6


if __name__ == "__main__":
    main()
