"""A network as its authors run it: photos prepared with Pillow and float32, one at a time, on the unchanged graph."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import TensorProto
from onnx.helper import tensor_dtype_to_np_dtype
from PIL import Image, ImageDraw

from retrieval.errors import BadSource
from retrieval.importing.wrapping import ImageNetwork, TextNetwork
from retrieval.index.vectors import to_unit_length
from retrieval.session import Session
from retrieval.top_k import Embeddings

# Width and height of the photos of a comparison, for an input of one pixel.
SHAPES = ((1, 1), (1.31, 1.77), (2.63, 1.51), (0.53, 0.71), (3.47, 1.9), (1.0, 2.41))


def sample_photos(side: int) -> list[bytes]:
    """Photos of shapes and noise in several sizes, as PNG; `side` is the length of a side of the network's input."""
    return [
        _encoded(sample_photo(seed, (max(8, int(width * side)), max(8, int(height * side)))), "PNG")
        for seed, (width, height) in enumerate(SHAPES)
    ]


def large_jpeg(side: int) -> bytes:
    """A photo of ten times the size of the network's input, as JPEG."""
    return _encoded(sample_photo(99, (13 * side, 10 * side)), "JPEG")


def sample_photo(seed: int, size: tuple[int, int]) -> Image.Image:
    """Draw shapes and a gradient, with noise; equal arguments give equal pictures."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (4, 4, 3), np.uint8)).resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(coarse)
    for _ in range(8):
        x, y = random.uniform(0, 0.8, 2) * size
        box = (x, y, x + random.uniform(0.1, 0.5) * size[0], y + random.uniform(0.1, 0.5) * size[1])
        (draw.ellipse if random.random() < 0.5 else draw.rectangle)(
            box, fill=tuple(random.integers(0, 256, 3).tolist())
        )
    noise = 8 * random.standard_normal((size[1], size[0], 3), np.float32)
    return Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))


def reference_pixels(photo: bytes, network: ImageNetwork) -> npt.NDArray[np.uint8]:
    """Resize and crop a photo in two steps: uint8 [size, size, 3]."""
    prepare, image = network.preprocessing, Image.open(io.BytesIO(photo)).convert("RGB")
    assert prepare.size is not None and prepare.interpolation is not None
    size, filter = prepare.size, Image.Resampling[prepare.interpolation.upper()]
    if prepare.resize == "squash":
        return np.asarray(image.resize((size, size), filter))
    if prepare.resize == "pad":
        factor = size / max(image.size)
        image = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), filter)
        padded = Image.new("RGB", (size, size), (prepare.fill,) * 3)
        padded.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
        return np.asarray(padded)
    shorter, wanted = min(image.size), prepare.shorter_side or size
    image = image.resize((wanted * image.width // shorter, wanted * image.height // shorter), filter)
    left, top = (image.width - size) // 2, (image.height - size) // 2
    return np.asarray(image.crop((left, top, left + size, top + size)))


def reference_values(pixels: npt.NDArray[np.uint8], network: ImageNetwork) -> npt.NDArray[Any]:
    """Normalize the pixels of one photo, uint8 [size, size, 3], for the input of the network: a batch of one."""
    values: npt.NDArray[Any] = pixels
    if not network.takes_bytes:
        mean, std = (np.array(of, np.float32) for of in (network.preprocessing.mean, network.preprocessing.std))
        values = (pixels.astype(np.float32) * np.float32(network.preprocessing.rescale) - mean) / std
    if network.layout == "nchw":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[None]).astype(tensor_dtype_to_np_dtype(network.input.type))


class Reference:
    """An unchanged graph, and how its authors use it."""

    def __init__(self, graph: Path) -> None:
        self._session = Session(graph, lean=True)

    def output(self, network: ImageNetwork, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Compute the output for one photo."""
        return self._session.run(network.output, {network.input.name: values})

    def photos(self, network: ImageNetwork, photos: npt.NDArray[np.uint8]) -> Embeddings:
        """Embed photos, uint8 [photos, size, size, 3], one at a time."""
        return np.stack(
            [_vector(self.output(network, reference_values(pixels, network)), network) for pixels in photos]
        )

    def texts(self, network: TextNetwork, tokens: Sequence[tuple[Sequence[int], Sequence[int]]]) -> Embeddings:
        """Embed texts, each the ids of its tokens and which of them count, one at a time."""
        return np.stack([self._text(network, *of_text) for of_text in tokens])

    def text_rank(self, network: TextNetwork, ids: Sequence[int], mask: Sequence[int]) -> int:
        """Return the number of axes of the output; raises `BadSource` if it can't be an embedding."""
        shape = self._text_output(network, ids, mask).shape
        if len(shape) not in (2, 3) or shape[0] != 1:
            raise BadSource(
                f"The output {network.output} of the text network has the shape {shape}.", "Export another."
            )
        return len(shape)

    def _text(self, network: TextNetwork, ids: Sequence[int], mask: Sequence[int]) -> npt.NDArray[np.float32]:
        output = self._text_output(network, ids, mask)[0]
        return to_unit_length(output[np.array(mask, bool)].mean(axis=0) if network.rank == 3 else output)

    def _text_output(self, network: TextNetwork, ids: Sequence[int], mask: Sequence[int]) -> npt.NDArray[np.float32]:
        inputs = {network.ids.name: _row(ids, network.ids.type)}
        if network.mask is not None:
            inputs[network.mask.name] = _row(mask, network.mask.type)
        inputs |= {other.name: _row([0] * len(ids), other.type) for other in network.others}
        return self._session.run(network.output, inputs)


def _vector(output: npt.NDArray[np.float32], network: ImageNetwork) -> npt.NDArray[np.float32]:
    """Pool the output for one photo: float32 [d], of unit length."""
    (output,) = output
    if output.ndim == 1:
        return to_unit_length(output)
    if network.pool == "cls":
        return to_unit_length(output[0])
    if output.ndim == 3 and network.layout == "nchw":
        return to_unit_length(output.mean(axis=(1, 2)))
    return to_unit_length(output.reshape(-1, output.shape[-1]).mean(axis=0))


def _row(values: Sequence[int], type: int = TensorProto.INT64) -> npt.NDArray[Any]:
    return np.array([values]).astype(tensor_dtype_to_np_dtype(type))


def _encoded(image: Image.Image, format: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, quality=90)
    return buffer.getvalue()
