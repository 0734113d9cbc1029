"""Run the benchmarks and write `results.md` and its charts (`make bench`).

    python benchmarks/run.py [--bundle BUNDLE] [--photos FOLDER] [--quick | --thorough] [--only NAME…]

Each script runs in its own process. The report is written after each script, so results are kept if a later script
fails; the report lists missing results.
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keras_model import quiet_environment
from report import Failed, write_report

from retrieval.listing import list_photos
from retrieval.settings import load_settings
from trainer.datasets import DIGITS, locate

HERE = Path(__file__).parent
FLOWERS = HERE.parents[1] / "shared" / "flowers"
SAMPLE, QUICK_SAMPLE = 750, 60
MINUTES = 25


@dataclass(frozen=True)
class Script:
    """A benchmark and its arguments; `quick` and `thorough` are additional arguments in these modes.

    Arguments may contain `{bundle}` and `{int8}`, the same network in float32 and int8, `{photos}`, and `{sample}`,
    some of the photos from every class.
    """

    name: str
    words: str
    quick: str | None = field(default="", kw_only=True)  # None: not run
    thorough: str = field(default="", kw_only=True)

    @property
    def file(self) -> Path:
        return HERE / f"{self.words.split()[0]}.py"


BOTH = "--bundle {bundle} --int8 {int8} --photos {sample}"
SCRIPTS = (
    Script("indexing_speed", f"indexing_speed {BOTH}", quick="--runs 1", thorough="--photos {photos}"),
    Script("large_photos", f"indexing_speed {BOTH} --megapixels 12 --runs 2", quick="--runs 1", thorough="--runs 5"),
    Script("http_query", f"http_query {BOTH}", quick="--requests 40", thorough="--requests 1000"),
    Script("http_overhead", "http_overhead --bundle {bundle} --photos {sample}", quick="--requests 100"),
    Script("cold_search", "cold_search --bundle {bundle} --photos {sample} --runs 3", quick="--runs 1"),
    Script("http_rate", f"http_rate {BOTH} --seconds 3", quick="--seconds 1 --runs 1", thorough="--runs 5"),
    Script("pipeline", "pipeline --bundle {bundle} --photos {sample}", quick="--runs 1", thorough="--photos {photos}"),
    Script("format_indexing", "format_indexing --bundle {bundle} --photos {sample}", quick="--count 4 --runs 1"),
    Script("worker_peer", "worker_peer --bundle {bundle} --photos {sample} --runs 2", quick="--runs 1"),
    Script(
        "mixed_load", "mixed_load --bundle {bundle} --other {int8} --photos {sample}", quick="--requests 50 --clients 4"
    ),
    Script("upload_memory", "upload_memory --bundle {bundle} --photos {sample}"),
    Script("footprint", "footprint --bundle {bundle} --photos {sample} --runs 3"),
    Script("search_10k", "search_at_scale --points 10000", quick="--points 2000 --queries 50"),
    Script("search_100k", "search_at_scale --points 100000", quick=None),
    Script("search_peers", "search_peers --points 10000", quick="--points 2000 --turns 2", thorough="--points 100000"),
    Script("growth", "growth --bundle {int8} --photos {sample}", quick="--sizes 100 300"),
    Script(
        "batches_and_threads",
        "batches_and_threads --bundle {bundle} --photos {sample} --runs 2",
        quick="--seconds 0.1 --runs 1",
    ),
)
MILLION = "search_at_scale --points 1000000 --queries 500 --most-brute 0 --folder"


def main() -> int:
    options = _arguments()
    scripts = _chosen(options)
    photos = options.photos or (FLOWERS if FLOWERS.is_dir() else locate(DIGITS, load_settings().home))
    end = time.monotonic() + 60 * options.minutes
    results: dict[str, dict[str, Any] | Failed] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        words = ["bundles", "--photos", photos, "--out", folder]
        words += ["--bundle", options.bundle] if options.bundle else []
        results["bundles"] = _run(Script("bundles", shlex.join(map(str, words))), end)
        if isinstance(results["bundles"], Failed):
            raise SystemExit(f"There are no bundles to measure: {results['bundles'].why}")
        inputs = {"bundle": folder / "float32", "int8": folder / "int8", "photos": photos}
        inputs["sample"] = _sample(photos, folder / "sample", QUICK_SAMPLE if options.quick else SAMPLE)
        for script in scripts:
            print(f"{script.name} …", file=sys.stderr)
            results[script.name] = _run(script, end, {name: shlex.quote(str(path)) for name, path in inputs.items()})
            write_report(options.out, results, f"{len(list(list_photos(photos)))} photos of {photos.name}")
    failed = [name for name, result in results.items() if isinstance(result, Failed)]
    print(f"{options.out / 'results.md'}; failed: {', '.join(failed) or 'none'}", file=sys.stderr)
    return int(bool(failed))


def _chosen(options: argparse.Namespace) -> list[Script]:
    """The scripts of a mode with their arguments."""
    scripts = list(SCRIPTS)
    if options.million:
        scripts.append(Script("search_1m", f"{MILLION} {shlex.quote(str(options.million))}"))
    if options.quick:
        scripts = [Script(each.name, f"{each.words} {each.quick}") for each in scripts if each.quick is not None]
    elif options.thorough:
        scripts = [Script(each.name, f"{each.words} {each.thorough}") for each in scripts]
    return [script for script in scripts if not options.only or script.name in options.only]


def _run(script: Script, end: float, inputs: dict[str, str] | None = None) -> dict[str, Any] | Failed:
    """The result of a script, or its error; other output goes to a log, which is shown if the script fails."""
    _, *words = shlex.split(script.words.format(**inputs or {}))
    left = end - time.monotonic()
    if left < 1:
        return Failed("there was no time left for it")
    command = [sys.executable, script.file, *words, "--json"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    start = time.monotonic()
    process = subprocess.Popen(command, env=quiet_environment(), start_new_session=True, **pipes)
    try:
        out, err = process.communicate(timeout=left)
        result: dict[str, Any] = json.loads(out)
    except subprocess.TimeoutExpired:
        return Failed("not enough time was left")
    except ValueError:
        print(err, file=sys.stderr)
        return Failed((err.strip().splitlines() or ["it printed no error"])[-1])
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its servers and workers, if it was interrupted
    return result | {"took_seconds": round(time.monotonic() - start, 1)}


def _sample(photos: Path, folder: Path, most: int) -> Path:
    """Links to an evenly spaced selection of the photos, one folder per class."""
    listed = list(list_photos(photos))
    for photo in listed[:: -(-len(listed) // most)]:
        link = folder / str(photo.label) / photo.path.name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(photo.path.resolve())
    return folder


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, help="a trained float32 bundle; otherwise an untrained network is taken")
    parser.add_argument("--photos", type=Path, help="a folder of photos for each class; otherwise flowers, or digits")
    parser.add_argument("--out", type=Path, default=HERE, help="where results.md and its charts are written")
    parser.add_argument("--only", nargs="+", choices=[script.name for script in SCRIPTS], help="just these")
    parser.add_argument("--million", type=Path, help="search a million points, too, in an index kept in this folder")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="what is not done by then is left out")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--quick", action="store_true", help="a few photos and short turns: whether all of it works")
    mode.add_argument("--thorough", action="store_true", help="larger libraries and more turns; give it --minutes 90")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
