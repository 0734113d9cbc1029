"""A network that computes in 8-bit integers: faster on a CPU, and accepted only where it finds as well as before.

Static quantization: weights are rounded channel by channel to int8, activations to uint8, by their range over photos
of the training split (Jacob et al., "Quantization and Training of Neural Networks for Efficient
Integer-Arithmetic-Only Inference", CVPR 2018). That is done between the first two convolutions and the last. The rest
stays float32, as it costs little time and rounding it much (so since Zhou et al., "DoReFa-Net", 2016): all features
come from the few channels of the first ones, and the last feature map is what embeddings and `regions` are made of. On
MobileNetV2, rounding the weights of the second convolution alone moved embeddings nine times as far as rounding any
other's; on EfficientNet-Lite0, four times. Where that loses too much on the validation photos, more of the first
convolutions stay float32, which is slower and more faithful.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.embedder import IMAGES
from trainer.data import Say
from trainer.export import check_free_space, run_onnx
from trainer.extra import first_line
from trainer.runs import Photos, Run

CALIBRATION_PHOTOS = 96
LARGEST_LOSS = 0.005
FLOAT32_AT_FIRST = (2, 6, 12)  # convolutions, of at most half of which a network has

Tensors = Iterable[str]


def quantized(run: Run, photos: Photos, calibration: npt.NDArray[np.uint8], say: Say) -> tuple[Run, dict[str, Any]]:
    """The run with a quantized network, or the run as it was where that one finds less well.

    The validation photos choose: of several candidates the fastest whose MAP@R is at most 0.005 below the float32
    network's, or none. Test photos are shown to the chosen one alone and can only refuse it, by the same bound; so they
    never pick the best of several, and the figures of both networks are kept.

    Args:
        run: an exported and measured training.
        photos: by split, as the network takes them.
        calibration: training photos, uint8 [photos, size, size, 3].
        say: takes the figures of both, and why a network was refused.

    Returns:
        The run, and what the bundle's metrics say of it: `accepted`, `calibration_photos`; the `reason` where nothing
        could be measured; otherwise `float32_at_first`, how many convolutions were left as they were, the `cosine` of
        both networks' embeddings of the validation photos, mean and lowest, and the overall figures of `float32` and
        `int8` by split.

    Raises:
        LookalikeError: the disk is full.
    """
    candidate, first, record = replace(run, precision="int8"), 0, {"calibration_photos": len(calibration)}
    check_free_space(run.folder, 3 * run.network.stat().st_size)
    try:
        for first in _counts_to_spare(run.network):
            quantize_onnx(run.network, candidate.network, calibration, first)
            candidate = _measured(candidate, {"val": photos["val"]})
            if _loss(run, candidate) <= LARGEST_LOSS:
                break
    except Exception as error:  # the quantizer raises whatever it comes upon in a graph
        say(f"The network can't be quantized ({first_line(error)}): the bundle holds the float32 network.")
        return run, {"accepted": False, **record, "reason": first_line(error)}
    candidate = _measured(candidate, {split: photos[split] for split in run.evaluations})
    accepted = _loss(run, candidate) <= LARGEST_LOSS
    say(_sentence(run, candidate, accepted))
    kept = candidate if accepted else run
    return kept, {"accepted": accepted, **record, "float32_at_first": first, **_figures(run, candidate)}


def quantize_onnx(network: Path, target: Path, calibration: npt.NDArray[np.uint8], float32_at_first: int) -> None:
    """Write a network with 8-bit integers between its first convolutions and its last; it takes and gives the same.

    Args:
        network: as `export_onnx` wrote it.
        target: the file to write.
        calibration: photos from which the ranges of activations are taken, uint8 [photos, size, size, 3].
        float32_at_first: how many convolutions stay as they are.
    """
    onnxruntime.set_default_logger_severity(3)  # it warns of every optional input
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(network, prepared, skip_symbolic_shape=True)  # which would need SymPy, and finds no more
        quantize_static(
            prepared,
            target,
            _Photos(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_kept_in_float32(onnx.load(prepared).graph.node, float32_at_first),
        )


class _Photos:
    """One photo after the other, as the quantizer asks a `CalibrationDataReader` for them."""

    def __init__(self, photos: npt.NDArray[np.uint8]) -> None:
        self._photos = iter(photos)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """The next photo by the name of its input; None after the last."""
        photo = next(self._photos, None)
        return None if photo is None else {IMAGES: photo[None]}


def _counts_to_spare(network: Path) -> list[int]:
    """How many of the first convolutions a candidate leaves in float32, the fastest candidate first."""
    convolutions = sum(node.op_type == "Conv" for node in onnx.load(network).graph.node)
    counts = [count for count in FLOAT32_AT_FIRST if count <= convolutions / 2]
    if not counts:
        raise ValueError("it has too few convolutions")
    return counts


def _kept_in_float32(nodes: Sequence[onnx.NodeProto], at_first: int) -> list[str]:
    """The names of nodes, in the order they run, that are not behind the first convolutions and before the last."""
    after = _reached(nodes, lambda node: node.input, lambda node: node.output)
    before = _reached(nodes[::-1], lambda node: node.output, lambda node: node.input)
    first = [node.name for node in nodes if node.op_type == "Conv"][:at_first]
    return [
        node.name
        for node in nodes
        if node.name in first or not after & set(node.input) or not before & set(node.output)
    ]


def _reached(
    nodes: Sequence[onnx.NodeProto],
    entering: Callable[[onnx.NodeProto], Tensors],
    leaving: Callable[[onnx.NodeProto], Tensors],
) -> set[str]:
    """The tensors that one comes to from the convolutions, going through nodes in this order and direction."""
    tensors: set[str] = set()
    for node in nodes:
        if node.op_type == "Conv" or tensors & set(entering(node)):
            tensors |= set(leaving(node))
    return tensors


def _measured(run: Run, photos: Photos) -> Run:
    """The run with the embeddings and figures of its own network."""
    embeddings = {split: run_onnx(run.network, of_split.images) for split, of_split in photos.items()}
    evaluations = {split: evaluate_embeddings(of_split, photos[split].labels) for split, of_split in embeddings.items()}
    return replace(run, embeddings=embeddings, evaluations=evaluations)


def _loss(run: Run, candidate: Run) -> float:
    """The MAP@R that is lost, at worst, on the splits that the candidate was measured on."""
    return max(_map_at_r(run, split) - _map_at_r(candidate, split) for split in candidate.evaluations)


def _figures(run: Run, candidate: Run) -> dict[str, Any]:
    cosines = (run.embeddings["val"] * candidate.embeddings["val"]).sum(axis=1)
    figures: dict[str, Any] = {
        of.precision: {split: evaluation.overall for split, evaluation in of.evaluations.items()}
        for of in (run, candidate)
    }
    return {"cosine": {"mean": float(cosines.mean()), "min": float(cosines.min())}, **figures}


def _sentence(run: Run, candidate: Run, accepted: bool) -> str:
    moved = ", ".join(
        f"{_map_at_r(run, split):.4f} → {_map_at_r(candidate, split):.4f} on the {split} photos"
        for split in run.evaluations
    )
    if not accepted:
        return f"The int8 network loses more than {LARGEST_LOSS} of MAP@R ({moved}): the bundle holds the float32 one."
    size = candidate.network.stat().st_size / run.network.stat().st_size
    return f"Quantized to int8: MAP@R {moved}; the network's file has {size:.0%} of its size."


def _map_at_r(run: Run, split: str) -> float:
    return run.evaluations[split].overall["map_at_r"]
