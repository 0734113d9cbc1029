"""Static quantization to 8-bit integers: faster on a CPU, and accepted only if it retrieves nearly as well.

Weights are rounded channel by channel to int8, activations to uint8, by their range over training photos (Jacob et al.,
"Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018), from the
third convolution to the one before the last. The others stay float32, since they take little time and rounding them
costs much quality (as in Zhou et al., "DoReFa-Net", 2016): all features are computed from the few channels of the first
ones, and embeddings and `regions` from the last feature map. On MobileNetV2, rounding the weights of the second
convolution alone changes embeddings nine times as much as rounding any other; on EfficientNet-Lite0, four times. If
too much is lost on the validation photos, more of the first convolutions stay float32, which is slower and more exact.
"""

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx

from retrieval.embedder import IMAGES
from retrieval.errors import first_line
from retrieval.metrics import Cosines, Quantization
from trainer.data import Say
from trainer.export import check_free_space
from trainer.runs import Photos, Run, measured

CALIBRATION_PHOTOS = 96
LARGEST_LOSS = 0.005
FLOAT32_AT_FIRST = (2, 6, 12)  # convolutions, of at most half of which a network has

Tensors = Iterable[str]


def quantized(run: Run, photos: Photos, calibration: npt.NDArray[np.uint8], say: Say) -> tuple[Run, Quantization]:
    """Return the run with a quantized network, or the run itself if that one retrieves worse, and the comparison.

    The validation photos decide: of several candidates the fastest is accepted whose MAP@R is at most 0.005 below the
    float32 network's, or none. The last candidate is measured on the test photos, too, which decide nothing.

    Args:
        photos: by split, at the network's input size.
        calibration: training photos, uint8 [photos, size, size, 3].
        say: takes the metrics of both, or the reason for a rejection.

    Raises:
        LookalikeError: the disk is full.
    """
    candidate, first, accepted = replace(run, precision="int8"), 0, False
    check_free_space(run.folder, 3 * run.network.stat().st_size)
    try:
        for first in _float32_counts(run.network):
            quantize_onnx(run.network, candidate.network, calibration, first)
            candidate = measured(candidate, {"val": photos["val"]})
            accepted = _map_at_r(run, "val") - _map_at_r(candidate, "val") <= LARGEST_LOSS
            if accepted:
                break
    except Exception as error:  # the quantizer raises errors of any type
        say(f"The network can't be quantized ({first_line(error)}): the bundle has the float32 network.")
        return run, Quantization(accepted=False, calibration_photos=len(calibration), reason=first_line(error))
    candidate = measured(candidate, {split: photos[split] for split in run.evaluations})
    say(_sentence(run, candidate, accepted))
    cosines = (run.embeddings["val"] * candidate.embeddings["val"]).sum(axis=1)
    return candidate if accepted else run, Quantization(
        accepted=accepted,
        calibration_photos=len(calibration),
        float32_at_first=first,
        cosine=Cosines(mean=float(cosines.mean()), min=float(cosines.min())),
        float32=run.means,
        int8=candidate.means,
    )


def quantize_onnx(network: Path, target: Path, calibration: npt.NDArray[np.uint8], float32_at_first: int) -> None:
    """Write a network with 8-bit integers between its first convolutions and its last, with the same in- and outputs.

    Args:
        network: written by `export_onnx`.
        calibration: photos that the ranges of activations are taken from, uint8 [photos, size, size, 3].
        float32_at_first: number of the first convolutions that stay float32.
    """
    import onnxruntime  # noqa: PLC0415 - after `retrieval.session`, which turns its telemetry off
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static  # noqa: PLC0415
    from onnxruntime.quantization.shape_inference import quant_pre_process  # noqa: PLC0415

    onnxruntime.set_default_logger_severity(3)  # there is a warning for every optional input
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        prepared = Path(folder, "prepared.onnx")
        quant_pre_process(network, prepared, skip_symbolic_shape=True)  # it needs SymPy, and finds nothing here
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
    """A `CalibrationDataReader` of the quantizer that returns photos one by one."""

    def __init__(self, photos: npt.NDArray[np.uint8]) -> None:
        self._photos = iter(photos)

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        """Return the next photo by the name of its input; None after the last."""
        photo = next(self._photos, None)
        return None if photo is None else {IMAGES: photo[None]}


def _float32_counts(network: Path) -> list[int]:
    """Return the number of first convolutions in float32 for each candidate, the fastest first."""
    convolutions = sum(node.op_type == "Conv" for node in onnx.load(network).graph.node)
    counts = [count for count in FLOAT32_AT_FIRST if count <= convolutions / 2]
    if not counts:
        raise ValueError("it has too few convolutions")
    return counts


def _kept_in_float32(nodes: Sequence[onnx.NodeProto], at_first: int) -> list[str]:
    """Return the names of the nodes that stay float32; nodes are in topological order."""
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
    """Return the tensors that are reachable from convolutions, visiting nodes in this order and direction."""
    tensors: set[str] = set()
    for node in nodes:
        if node.op_type == "Conv" or tensors & set(entering(node)):
            tensors |= set(leaving(node))
    return tensors


def _sentence(run: Run, candidate: Run, accepted: bool) -> str:
    moved = ", ".join(
        f"{_map_at_r(run, split):.4f} → {_map_at_r(candidate, split):.4f} on the {split} photos"
        for split in run.evaluations
    )
    if not accepted:
        return f"The int8 network loses more than {LARGEST_LOSS} of MAP@R ({moved}): the bundle has the float32 one."
    size = candidate.network.stat().st_size / run.network.stat().st_size
    return f"Quantized to int8: MAP@R {moved}; the network's file has {size:.0%} of its size."


def _map_at_r(run: Run, split: str) -> float:
    return run.evaluations[split].overall["map_at_r"]
