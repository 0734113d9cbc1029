"""Duration of a second run on an unchanged library, which must embed nothing.

The photos are generated: tiny, different JPEGs in folders of a thousand. The first run indexes them; the second run is
measured.

    python benchmarks/rerun.py --bundle BUNDLE [--photos 100000] [--folder WHERE]
"""

import argparse
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from PIL import Image

LONGEST_SECONDS = 30
FOLDER = 1000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--photos", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="where photos and index are made, and found again by the next call")
    options = parser.parse_args()
    if options.folder:
        result = measure(options.folder, options.bundle, options.photos)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            result = measure(Path(temporary), options.bundle, options.photos)
    print(json.dumps(result, indent=2))
    return int(result["seconds"] > LONGEST_SECONDS or result["indexed"] > 0)


def measure(folder: Path, bundle: Path, photos: int) -> dict[str, Any]:
    """Seconds of the second run: of the job, and of the whole process including its cross-check."""
    library = make_library(folder / "photos", photos)
    first = index(library, bundle, folder / "home")
    start = time.perf_counter()
    second = index(library, bundle, folder / "home")
    return {
        "photos": photos,
        "first_run_seconds": first["seconds"],
        "seconds": second["seconds"],
        "process_seconds": round(time.perf_counter() - start, 2),
        "indexed": second["indexed"],
        "unchanged": second["unchanged"],
    }


def make_library(folder: Path, photos: int) -> Path:
    """Files with the same tiny photo, each with a different number appended."""
    content = io.BytesIO()
    Image.effect_noise((16, 16), 60).convert("RGB").save(content, "JPEG")
    for first in range(0, photos, FOLDER):
        below = folder / f"{first:07}"
        if below.exists():
            continue
        below.mkdir(parents=True)
        for number in range(first, min(first + FOLDER, photos)):
            (below / f"{number}.jpg").write_bytes(content.getvalue() + b"%d" % number)
    return folder


def index(library: Path, bundle: Path, home: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "lookalike", "index", library, "--bundle", bundle, "--json"],
        env=os.environ | {"LOOKALIKE_HOME": str(home)},
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


if __name__ == "__main__":
    sys.exit(main())
