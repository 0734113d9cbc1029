"""Retrieval quality of recipes trained on 184 flower photos, compared with the backbone before fine-tuning.

    python benchmarks/training_quality.py [--backbone mobilenet_v2] [--recipes default notebook-facenet] [--seeds 0 1 2]

Runs `lookalike train` on the photos and weights in ../shared for each seed, alternating between the recipes, and prints
one JSON object: for each recipe the test metrics and training seconds, with mean and standard deviation over the seeds.
`notebook-facenet` on mobilenet_v2 is experiment 4 of the 2020 notebooks.
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
    parser.add_argument("--recipes", nargs="+", default=["default"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {recipe: [] for recipe in options.recipes}
    for seed in options.seeds:
        for recipe in options.recipes:
            runs[recipe].append(train(options.backbone, recipe, seed))
    recipes = {recipe: {"runs": of_recipe, "summary": summary(of_recipe)} for recipe, of_recipe in runs.items()}
    print(json.dumps({"backbone": options.backbone, "recipes": recipes}, indent=2))


def train(backbone: str, recipe: str, seed: int) -> dict[str, float]:
    """One training: test metrics, those before fine-tuning, and the seconds of the training loop."""
    flowers = SHARED / "flowers"
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary, "bundle")
        command = [sys.executable, "-m", "lookalike", "train", "--data", flowers, "--splits", flowers / "split.csv"]
        command += ["--backbone", backbone, "--weights", WEIGHTS.get(backbone, "auto"), "--seed", str(seed)]
        command += ["--recipe", recipe, "--out", out, "--json"]
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
