"""Throughput of indexing large photos in HEIC, JPEG and camera raw formats, compared with its two steps alone.

    python benchmarks/format_indexing.py --bundle BUNDLE --photos FOLDER [--megapixels 12] [--count 8] [--runs 3]

A few photos are enlarged and written in each format, each several times, so that the first and last group do not
dominate; a camera raw file has a JPEG preview of the full size. Decoding
alone uses Pillow, pi-heif and rawpy as their authors document, with libjpeg's reduction, and resizes to the network's
input; embedding starts from pixels in memory; indexing is that of `lookalike index`. `bound` is the throughput if a
photo takes the time of both steps. The identity of a photo is the sha256 of its file, which no step has: hashing alone
is measured, too, and `bound_with_hashing` is the throughput if a photo takes the time of all three. With `--cpu`, the
rates are per second of processor time, for a machine that is busy. Exits with 1 if a format reaches less than 0.9 of
its bound.
"""

import hashlib
import io
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pi_heif
import pillow_heif
import rawpy
from options import bundle_and_photos, show
from PIL import Image
from pipeline import REQUIRED_RATIO, on_all_cores
from timing import spread

from indexer.batch import BatchIndexer
from indexer.batches import batches
from retrieval.bundle import load_bundle
from retrieval.cores import usable_cores
from retrieval.decoder import PhotoDecoder, configure_pillow
from retrieval.embedder import Embedder
from retrieval.images import fit
from retrieval.index.embedded import EmbeddedStore
from retrieval.listing import list_photos
from retrieval.photo_ref import PhotoRef

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import tiffs

COPIES = {"heic": 4, "jpeg": 16, "raw_preview": 8}


def main() -> int:
    parser = bundle_and_photos(__doc__)
    parser.add_argument("--megapixels", type=float, default=12)
    parser.add_argument("--count", type=int, default=8, help="different photos of each format")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--cpu", action="store_true", help="measure processor time")
    options = parser.parse_args()
    configure_pillow()
    embedder = Embedder(load_bundle(options.bundle), threads=1)
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), [photo.path for photo in list_photos(options.photos)], options)
        for name, decode in DECODERS.items():
            photos = list(list_photos(Path(folder, name)))
            clock = process_time if options.cpu else perf_counter
            turns = [rates(embedder, photos, decode, clock) for _ in range(options.runs)]
            result[name] = summary(turns)
    show(result, options.json)
    return int(any(of["ratio_to_bound"] < REQUIRED_RATIO for of in result.values()))


def write(folder: Path, sources: list[Path], options: Any) -> None:
    """Write some of the photos, enlarged, in each format."""
    for name in DECODERS:
        Path(folder, name).mkdir()
    for number, path in enumerate(sources[:: max(1, len(sources) // options.count)][: options.count]):
        with Image.open(path) as image:
            scale = (options.megapixels * 1e6 / (image.width * image.height)) ** 0.5
            size = round(image.width * scale / 2) * 2, round(image.height * scale / 2) * 2
            large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        jpeg = io.BytesIO()
        large.save(jpeg, "JPEG", quality=90)
        heic = io.BytesIO()
        pillow_heif.from_pillow(large).save(heic, quality=60)
        sensor = np.broadcast_to(np.float64(0.5), (*size[::-1], 3))
        write_copies(Path(folder, "heic"), f"{number}.heic", heic.getvalue())
        write_copies(Path(folder, "jpeg"), f"{number}.jpg", jpeg.getvalue())
        write_copies(Path(folder, "raw_preview"), f"{number}.dng", tiffs.dng(sensor, jpeg.getvalue()))


def write_copies(folder: Path, name: str, data: bytes) -> None:
    """Write a file several times."""
    for number in range(COPIES[folder.name]):
        Path(folder, f"{number}-{name}").write_bytes(data)


def rates(
    embedder: Embedder,
    photos: list[PhotoRef],
    decode: Callable[[bytes, int], Image.Image],
    clock: Callable[[], float],
) -> tuple[float, float, float, float]:
    """Photos per second of decoding alone, embedding alone, hashing alone and indexing."""
    rule = embedder.bundle.resize

    def pixels_of(group: list[PhotoRef]) -> Any:
        return np.stack(
            [np.asarray(fit(decode(photo.path.read_bytes(), 2 * rule.shorter_side), rule)) for photo in group]
        )

    def measured(work: Callable[[Any], Any], parts: list[Any]) -> tuple[float, list[Any]]:
        start = clock()
        _, results = on_all_cores(work, parts)
        return len(photos) / (clock() - start), results

    decoding, pixels = measured(pixels_of, list(batches(photos, embedder.session.provider.batch)))
    embedding, _ = measured(embedder.embed, pixels)
    contents = [photo.path.read_bytes() for photo in photos[::8]]
    hashing, _ = measured(
        lambda data: hashlib.sha256(data).digest(), [contents[n % len(contents)] for n in range(len(photos))]
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedStore(Path(folder)).open(embedder.bundle.model_id, embedder.dimension) as index,
        BatchIndexer(embedder, index, PhotoDecoder(), threads=usable_cores()) as indexer,
    ):
        start = clock()
        indexed = sum(outcome.indexed for outcome in indexer.run(photos))
        indexing = len(photos) / (clock() - start)
    assert indexed == len(photos)
    return decoding, embedding, hashing, indexing


def summary(turns: list[tuple[float, float, float, float]]) -> dict[str, Any]:
    """The rates and the share of the bounds that indexing reaches."""
    found: dict[str, Any] = dict(
        zip(("decoding", "embedding", "hashing", "indexing"), map(spread, zip(*turns, strict=True)), strict=True)
    )
    decoding, embedding, hashing, indexing = (of["median"] for of in found.values())
    for name, steps in {"bound": (decoding, embedding), "bound_with_hashing": (decoding, embedding, hashing)}.items():
        found[name] = round(1 / sum(1 / rate for rate in steps), 2)
        found[f"ratio_to_{name}"] = round(indexing / found[name], 3)
    return found


def decode_jpeg(data: bytes, enough: int) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    shorter = min(image.size)
    image.draft("RGB", (enough * image.width // shorter, enough * image.height // shorter))
    image.load()
    return image


def decode_heic(data: bytes, enough: int) -> Image.Image:
    return pi_heif.open_heif(io.BytesIO(data)).to_pillow()


def decode_preview(data: bytes, enough: int) -> Image.Image:
    with rawpy.imread(io.BytesIO(data)) as raw:
        return decode_jpeg(raw.extract_thumb().data, enough)


DECODERS = {"heic": decode_heic, "jpeg": decode_jpeg, "raw_preview": decode_preview}


if __name__ == "__main__":
    sys.exit(main())
