"""Retrieval quality on classes without training photos, compared with the backbone before fine-tuning.

    python benchmarks/unseen_classes.py [--backbone mobilenet_v2] [--recipe new-classes] [--rotations 0 1] [--epochs 1]

Runs `lookalike train` on the flowers in ../shared: each rotation tests on two of the five classes and trains on the
training photos of the other three. Prints one JSON object with the metrics of each rotation and their means, over all
ten rotations by default.
"""

import argparse
import itertools
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from training_quality import SHARED, WEIGHTS

METRICS = ("recall_at_1", "map_at_r")
UNSEEN = 2


def main() -> None:
    flowers = SHARED / "flowers"
    rotations = list(
        itertools.combinations(sorted(folder.name for folder in flowers.iterdir() if folder.is_dir()), UNSEEN)
    )
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--recipe", default="new-classes")
    parser.add_argument("--rotations", type=int, nargs="+", default=range(len(rotations)), help="by number, from 0")
    parser.add_argument("--epochs", type=int, help="at most so many; the recipe's own unless given")
    options = parser.parse_args()
    runs = [train(flowers, rotations[number], options) for number in options.rotations]
    print(
        json.dumps(
            {"backbone": options.backbone, "recipe": options.recipe, "rotations": runs, "mean": mean(runs)}, indent=2
        )
    )


def train(flowers: Path, unseen: tuple[str, ...], options: argparse.Namespace) -> dict[str, object]:
    """One rotation: metrics of the unseen classes, after and before training."""
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "lookalike", "train", "--data", flowers, "--splits", flowers / "split.csv"]
        command += ["--backbone", options.backbone, "--weights", WEIGHTS.get(options.backbone, "auto")]
        command += ["--recipe", options.recipe, "--out", Path(temporary, "bundle"), "--json"]
        command += [word for label in unseen for word in ("--unseen-class", label)]
        command += ["--epochs", str(options.epochs)] if options.epochs else []
        metrics = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["metrics"]
    trained = {name: metrics["test"][name] for name in METRICS}
    untrained = {f"untrained_{name}": metrics["untrained"]["test"][name] for name in METRICS}
    return {"unseen": unseen, "queries": metrics["test"]["queries"], **trained, **untrained}


def mean(runs: list[dict[str, object]]) -> dict[str, float]:
    """Means over the rotations, and the gain by training."""
    names = [*METRICS, *(f"untrained_{name}" for name in METRICS)]
    means = {name: statistics.fmean(float(str(run[name])) for run in runs) for name in names}
    return means | {"gain_in_map_at_r": means["map_at_r"] - means["untrained_map_at_r"]}


if __name__ == "__main__":
    main()
