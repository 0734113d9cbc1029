"""The charts of `results.md`: SVG files. A chart is drawn if one of its scripts was run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "lookalike"  # the same data gives the same file

import matplotlib.pyplot as plt  # noqa: E402 - after its settings
from matplotlib.axes import Axes  # noqa: E402

Found = Mapping[str, dict[str, Any]]
SIZE = (6.4, 3.2)
SEARCHES = ("search_10k", "search_100k", "search_1m")


def draw_charts(folder: Path, found: Found) -> dict[str, str]:
    """Draw the charts with results; return file name → title."""
    drawn = {}
    for file, (title, draw, needed) in PICTURES.items():
        if not any(name in found for name in needed):
            continue
        folder.mkdir(parents=True, exist_ok=True)
        figure, axes = plt.subplots(figsize=SIZE, layout="constrained")
        draw(axes, found)
        axes.set_title(title, fontsize=10)
        axes.grid(alpha=0.3)
        figure.savefig(folder / file, metadata={"Date": None})
        plt.close(figure)
        drawn[file] = title
    return drawn


def _indexing(axes: Axes, found: Found) -> None:
    for script, label in (("indexing_speed", "photos as they are"), ("large_photos", "12 megapixels")):
        ways = {
            name: of for name, of in found.get(script, {}).items() if isinstance(of, dict) and "process_seconds" in of
        }
        speeds = [of["images_per_second"] for of in ways.values()]
        medians = [speed["median"] for speed in speeds]
        errors = [
            [speed["median"] - speed["least"] for speed in speeds],
            [speed["most"] - speed["median"] for speed in speeds],
        ]
        axes.errorbar(list(ways), medians, errors, fmt="o", capsize=4, label=label)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("photos a second")
    axes.legend(fontsize=8)


def _growth(axes: Axes, found: Found) -> None:
    libraries = [of for of in found["growth"].values() if isinstance(of, dict)]
    sizes = [of["photos"] for of in libraries]
    axes.plot(sizes, [of["images_per_second"] for of in libraries], "o-", label="photos a second")
    axes.plot(sizes, [of["peak_mb"] for of in libraries], "s--", label="peak memory, MB")
    axes.plot(sizes, [of["index_on_disk_mb"] for of in libraries], "^:", label="index on disk, MB")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("photos in the library")
    axes.legend(fontsize=8)


def _search(axes: Axes, found: Found) -> None:
    runs = [found[name] for name in SEARCHES if name in found]
    lines = {
        "search_p50_ms": "index, p50 ms",
        "exact_p50_ms": "index, exact, p50 ms",
        "in_turn_scikit_learn_p50_ms": "scikit-learn brute force, p50 ms",
        "index_resident_mb": "memory of the index, MB",
    }
    for key, label in lines.items():
        known = [run for run in runs if key in run]
        axes.plot([run["points"] for run in known], [run[key] for run in known], "o-", label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("points")
    axes.legend(fontsize=8)


def _batches(axes: Axes, found: Found) -> None:
    for name, by_size in found["batches_and_threads"].items():
        if isinstance(by_size, dict):
            sizes = [int(size.removeprefix("batch_")) for size in by_size]
            axes.plot(sizes, [of["median"] for of in by_size.values()], "o-", label=name.replace("_", " "))
    axes.set_xscale("log", base=2)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("images in a call")
    axes.set_ylabel("images a second")
    axes.legend(fontsize=8)


# File name → title, drawing function, and the scripts of which at least one must have run.
PICTURES = {
    "indexing.svg": ("Indexing, by way", _indexing, ("indexing_speed", "large_photos")),
    "growth.svg": ("Indexing as a library grows", _growth, ("growth",)),
    "search.svg": ("Searching as the index grows", _search, SEARCHES),
    "batches.svg": ("Embedding by batch and threads", _batches, ("batches_and_threads",)),
}
