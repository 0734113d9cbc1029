"""How well the default recipe retrieves after training on 184 flower photos, the untrained backbone beside it.

    python benchmarks/training_quality.py [--backbone mobilenet_v2] [--seeds 0 1 2]

Runs `lookalike train` as a user would, on the photos and weights in ../shared, and prints one JSON object: for each
seed the test split's figures and the seconds that training took, and their mean and spread.
"""

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHARED = Path(__file__).resolve().parents[2] / "shared"
WEIGHTS = {"mobilenet_v2": str(SHARED / "weights" / "mobilenet_v2_imagenet_notop.h5")}
METRICS = ("recall_at_1", "precision_at_5", "map_at_r")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    runs = [train(options.backbone, seed) for seed in options.seeds]
    print(json.dumps({"backbone": options.backbone, "runs": runs, "summary": summary(runs)}, indent=2))


def train(backbone: str, seed: int) -> dict[str, float]:
    """One training: the test figures, the untrained backbone's, and the seconds of the training loop."""
    flowers = SHARED / "flowers"
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary, "bundle")
        command = [sys.executable, "-m", "lookalike", "train", "--data", flowers, "--splits", flowers / "split.csv"]
        command += ["--backbone", backbone, "--weights", WEIGHTS.get(backbone, "auto"), "--seed", str(seed)]
        command += ["--out", out, "--json"]
        began = time.perf_counter()
        metrics = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)["metrics"]
        command_seconds = round(time.perf_counter() - began, 1)
        with (out / "training" / "history.csv").open() as file:
            seconds = float(list(csv.DictReader(file))[-1]["seconds"])
    figures = {name: metrics["test"][name] for name in METRICS}
    untrained = {f"untrained_{name}": metrics["untrained"]["test"][name] for name in METRICS}
    return {"seed": seed, **figures, **untrained, "training_seconds": seconds, "command_seconds": command_seconds}


def summary(runs: list[dict[str, float]]) -> dict[str, dict[str, float]]:
    """Mean and standard deviation over the seeds."""
    names = [name for name in runs[0] if name != "seed"]
    values = {name: [run[name] for run in runs] for name in names}
    return {
        name: {"mean": statistics.fmean(value), "spread": statistics.pstdev(value)} for name, value in values.items()
    }


if __name__ == "__main__":
    main()
