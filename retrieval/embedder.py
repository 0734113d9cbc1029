"""Photos to embeddings, with ONNX Runtime."""

from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from retrieval.bundle import Bundle
from retrieval.errors import BadBundle, NotFound

IMAGES, EXPLAIN = "images", "explain"
EMBEDDINGS, REGIONS = "embeddings", "regions"


class Embedder:
    """Runs a bundle's network on the CPU.

    Build it in the process that uses it: its threads do not survive a fork.

    Args:
        bundle: the model.
        threads: how many threads compute a batch that is alone.

    Raises:
        BadBundle: ONNX Runtime can't load the network.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        try:
            self._session = open_session(bundle.network, threads)
        except Exception as error:  # ONNX Runtime raises its own classes, which share no base but Exception
            raise BadBundle(f"ONNX Runtime can't load {bundle.network}: {error}", "Train the model again.") from None
        self._require_shapes(bundle)
        self._threads = threads
        self.bundle = bundle
        self.dimension = bundle.dimension

    def embed(self, images: npt.NDArray[np.uint8], *, alone: bool = True) -> npt.NDArray[np.float32]:
        """The embeddings of a batch.

        Args:
            images: uint8 [batch, size, size, 3] RGB, as `images.read_pixels` makes them.
            alone: whether all threads compute it; otherwise the caller's alone, as is best beside other batches:
                threads that share a batch spin while they wait for each other, and take the others' cores.

        Returns:
            float32 [batch, dimension], each row of unit length.
        """
        if len(images) == 0:
            return np.empty((0, self.dimension), np.float32)
        session = self._session if alone else self._one_thread
        (embeddings,) = session.run([EMBEDDINGS], {IMAGES: images})
        return np.asarray(embeddings, np.float32)

    @cached_property
    def _one_thread(self) -> onnxruntime.InferenceSession:
        return self._session if self._threads == 1 else open_session(self.bundle.network, 1)

    @property
    def has_regions(self) -> bool:
        """Whether the network says what the places of a photo add to its embedding; older bundles do not."""
        return EXPLAIN in (entry.name for entry in self._session.get_overridable_initializers())

    def regions(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """What each place of the network's last feature map adds to a photo's embedding.

        Args:
            images: as for `embed`.

        Returns:
            float32 [batch, h, w, dimension]; the sum over the h × w places is the embedding of unit length.

        Raises:
            NotFound: the network does not say.
        """
        if not self.has_regions:
            raise NotFound(
                f"The model {self.bundle.model_id} does not say which regions of a photo made its embedding.",
                "Train it again with this version, on a backbone that ends with a global pooling.",
            )
        (regions,) = self._session.run([REGIONS], {IMAGES: images, EXPLAIN: np.array(True)})
        return np.asarray(regions, np.float32)

    def _require_shapes(self, bundle: Bundle) -> None:
        size, dimension = bundle.resize.size, bundle.dimension
        inputs = {entry.name: entry.shape[1:] for entry in self._session.get_inputs()}
        outputs = {entry.name: entry.shape[1:] for entry in self._session.get_outputs()}
        are_described = outputs.get(EMBEDDINGS) == [dimension] == outputs.get(REGIONS, [dimension])[-1:]
        if inputs != {IMAGES: [size, size, 3]} or not are_described:
            raise BadBundle(
                f"{bundle.network} is not the network that its bundle describes: it turns {inputs} into {outputs}.",
                "Train the model again.",
            )


def open_session(network: Path, threads: int = 0) -> onnxruntime.InferenceSession:
    """A network ready to run on the CPU, as everybody here runs it, so that all compute the same embeddings.

    Args:
        network: the ONNX file.
        threads: how many compute one batch; 0 for one a core.

    Raises:
        Exception: ONNX Runtime can't load it; its own classes share no other base.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # it warns of every optional input
    if not _has_vnni():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])


def _has_vnni() -> bool:
    """Whether the processor adds up the products of 8-bit integers exactly.

    Other x86 processors saturate at 16 bits, so that a quantized network finds worse there than where it was accepted,
    unless ONNX Runtime is told to be exact; that is slower (on MobileNetV2, 1.6 times), so it is not told elsewhere.
    """
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not on Linux
        return False
