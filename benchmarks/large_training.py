"""Peak memory and seconds of training and evaluation on many small photos of many classes.

    python benchmarks/large_training.py [--photos 60000] [--classes 11000] [--json]

The photos are generated: 64 × 64 pixels of noise around the colours of their class, as many as Stanford Online Products
has. `lookalike train` with the backbone `small_cnn` runs for two epochs, then `lookalike evaluate` on the test photos.
Peak memory is that of the process and its children: what they allocated, and what is resident, which includes the files
that they map, such as the pixels of the photos; the system can evict those.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from PIL import Image

PHOTOS, CLASSES = 60_000, 11_000
SIDE = 64
PATCHES = 4  # colours in each direction
NOISE = 25
EPOCHS = 2
POLL_SECONDS = 0.2
MOST_MEGABYTES, MOST_SECONDS = 2000, 180


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=PHOTOS)
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options.photos, options.classes)
    print(json.dumps(result) if options.json else "\n".join(f"{name}: {value}" for name, value in result.items()))
    return int(result["training_peak_mb"] > MOST_MEGABYTES or result["evaluation_seconds"] > MOST_SECONDS)


def measure(folder: Path, photos: int, classes: int) -> dict[str, Any]:
    """Generate photos, train and evaluate."""
    data, bundle = folder / "photos", folder / "bundle"
    generate(data, photos, classes)
    training = ("--backbone", "small_cnn", "--epochs", str(EPOCHS), "--out", str(bundle))
    result: dict[str, Any] = {"photos": photos, "classes": classes}
    result |= _watched("training", "train", "--data", str(data), *training, "--json")
    result |= _watched("evaluation", "evaluate", "--bundle", str(bundle), "--data", str(data), "--json")
    files = ("bundle.json", "training/report.html", "training/metrics.json")
    return result | {f"{Path(name).name}_mb": round((bundle / name).stat().st_size / 1e6, 1) for name in files}


def generate(folder: Path, photos: int, classes: int) -> None:
    """Write photos of classes of 2 to 12 photos or so, a folder for each class."""
    rng = np.random.default_rng(0)
    more = rng.multinomial(photos - 2 * classes, np.full(classes, 1 / classes))
    colours = rng.integers(40, 215, (classes, PATCHES, PATCHES, 3), np.uint8)

    def write(label: int) -> None:
        of_class = folder / f"class {label:05}"
        of_class.mkdir(parents=True)
        own = np.random.default_rng(label)
        for number in range(2 + more[label]):
            noisy = _enlarged(colours[label] + own.normal(0, NOISE, colours[label].shape))
            noisy += own.normal(0, NOISE, noisy.shape)
            Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(of_class / f"{number}.jpg", quality=70)

    with ThreadPoolExecutor() as threads:
        list(threads.map(write, range(classes)))


def _enlarged(colours: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Enlarge patches of one pixel, float64 [4, 4, 3], to a photo, float64 [64, 64, 3]."""
    return colours.repeat(SIDE // PATCHES, axis=0).repeat(SIDE // PATCHES, axis=1)


def _watched(name: str, *words: str) -> dict[str, Any]:
    """Run a command of lookalike; return its seconds and the peak memory of its processes."""
    start, computed, peak = time.monotonic(), _processor_seconds(), {"allocated": 0.0, "resident": 0.0}
    with subprocess.Popen([sys.executable, "-m", "lookalike", *words], stdout=subprocess.DEVNULL) as process:
        while process.poll() is None:
            for kind, megabytes in _memory(psutil.Process(process.pid)).items():
                peak[kind] = max(peak[kind], megabytes)
            time.sleep(POLL_SECONDS)
    if process.returncode:
        raise SystemExit(f"lookalike {words[0]} failed with status {process.returncode}.")
    return {
        f"{name}_seconds": round(time.monotonic() - start, 1),
        f"{name}_processor_seconds": round(_processor_seconds() - computed, 1),
        f"{name}_peak_mb": round(peak["allocated"]),
        f"{name}_resident_peak_mb": round(peak["resident"]),
    }


def _processor_seconds() -> float:
    """Seconds of one processor that ended children took, which depend little on other load."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _memory(process: psutil.Process) -> dict[str, float]:
    """Megabytes of a process and its children: allocated, and resident with mapped files."""
    allocated = resident = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            memory = one.memory_info()
            allocated, resident = allocated + memory.rss - memory.shared, resident + memory.rss
    except psutil.NoSuchProcess:
        return {}
    return {"allocated": allocated / 1e6, "resident": resident / 1e6}


if __name__ == "__main__":
    sys.exit(main())
