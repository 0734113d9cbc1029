"""The check that a bundle embeds photos and texts as the authors of its network meant."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from retrieval.bundle_format import Parity
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import EMBEDDINGS, IMAGES
from retrieval.errors import LookalikeError
from retrieval.importing.reference import Reference, large_jpeg, reference_pixels, reference_values, sample_photos
from retrieval.importing.wrapping import ImageNetwork, normalized
from retrieval.session import Session
from retrieval.top_k import Embeddings

MIN_COSINE = 0.9999
MOST_GREY_LEVELS = 2  # by which pixels may differ, since one function resizes and crops in one step


class EmbedsOtherwise(LookalikeError):
    """A bundle that embeds photos differently than its network; `step` is the first that differs."""

    def __init__(self, step: str, detail: str) -> None:
        super().__init__(
            f"The bundle does not embed photos as the network does: {step} differs ({detail}).",
            "No bundle was written; correct the options that describe the network.",
        )
        self.step = step


@dataclass(frozen=True)
class Expected:
    """What the unchanged graph computes for photos; the last one is a large JPEG."""

    photos: tuple[bytes, ...]
    pixels: npt.NDArray[np.uint8]
    embeddings: Embeddings
    of_bundle_pixels: npt.NDArray[np.uint8]
    from_bundle_pixels: Embeddings

    @property
    def reduced_jpeg(self) -> float:
        """The cosine that decoding a large JPEG at reduced size costs: 1 if nothing."""
        return _cosine(self.embeddings[-1], self.from_bundle_pixels[-1])


def expected_of(reference: Reference, network: ImageNetwork) -> Expected:
    """Embed generated photos by the unchanged graph."""
    decoder, rule = PhotoDecoder(), network.preprocessing.rule
    photos = (*sample_photos(rule.size), large_jpeg(rule.size))
    ours = np.stack([decoder.read_pixels(photo, rule).pixels for photo in photos])
    theirs = np.stack([reference_pixels(photo, network) for photo in photos])
    return Expected(photos, theirs, reference.photos(network, theirs), ours, reference.photos(network, ours))


def verify(graph: Path, network: ImageNetwork, expected: Expected) -> Parity:
    """Compare the embeddings of a bundle's graph with those of the unchanged graph.

    Raises `EmbedsOtherwise` if the cosine similarity of a photo's two embeddings is below 0.9999 or NaN.
    """
    embed = _runner(graph)
    count = len(expected.photos) - 1
    actual = np.concatenate([embed(expected.of_bundle_pixels[:-1]), embed(expected.of_bundle_pixels[-1:])])
    parity = _parity(expected.embeddings[:count], actual[:count])
    if parity.min_cosine >= MIN_COSINE and _parity(expected.from_bundle_pixels, actual).min_cosine >= MIN_COSINE:
        return parity
    raise _first_difference(network, expected, parity, actual)


def verify_texts(expected: Embeddings, actual: Embeddings) -> Parity:
    """Compare the embeddings of texts as `verify` does those of photos."""
    parity = _parity(expected, actual)
    if not parity.min_cosine >= MIN_COSINE:
        raise EmbedsOtherwise("the text network", f"the lowest cosine is {parity.min_cosine:.6f}")
    return parity


def _first_difference(network: ImageNetwork, expected: Expected, parity: Parity, actual: Embeddings) -> EmbedsOtherwise:
    theirs, ours = expected.pixels[:-1].astype(int), expected.of_bundle_pixels[:-1].astype(int)
    difference = int(np.abs(theirs - ours).max())
    same_graph = _parity(expected.from_bundle_pixels, actual).min_cosine
    if same_graph >= MIN_COSINE and difference > MOST_GREY_LEVELS:
        return EmbedsOtherwise("resizing", f"by up to {difference} of 255, with a cosine of {parity.min_cosine:.6f}")
    values = _normalized(network, expected.of_bundle_pixels)
    wanted = np.concatenate([reference_values(pixels, network) for pixels in expected.of_bundle_pixels])
    gap = float(np.abs(values - wanted.astype(np.float32)).max())
    if not math.isfinite(gap) or gap > 0.01:
        return EmbedsOtherwise("the normalization", f"by up to {gap:.3g}")
    return EmbedsOtherwise("the network", f"the lowest cosine is {same_graph:.6f}")


def _runner(graph: Path) -> Callable[[npt.NDArray[np.uint8]], Embeddings]:
    session = Session(graph, lean=True)
    return lambda pixels: session.run(EMBEDDINGS, {IMAGES: pixels})


def _normalized(network: ImageNetwork, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """Compute the values that the bundle's graph passes to the network."""
    graph = onnx.GraphProto(name="normalization")
    name, nodes = normalized(graph, network)
    graph.node.extend(nodes)
    size = network.preprocessing.size
    graph.input.append(helper.make_tensor_value_info(IMAGES, TensorProto.UINT8, ["batch", size, size, 3]))
    graph.output.append(helper.make_tensor_value_info(name, network.input.type, None))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return Session(model.SerializeToString()).run(name, {IMAGES: pixels})


def _parity(expected: Embeddings, actual: Embeddings) -> Parity:
    cosines = [_cosine(*pair) for pair in zip(expected, actual, strict=True)]
    return Parity(
        photos=len(expected), min_cosine=float(np.min(cosines)), max_difference=float(np.abs(expected - actual).max())
    )


def _cosine(one: Sequence[float] | npt.NDArray[np.float32], other: npt.NDArray[np.float32]) -> float:
    return float(1 - ((np.asarray(one) - other) ** 2).sum() / 2)
