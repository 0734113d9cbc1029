"""Photos to embeddings, with ONNX Runtime."""

import numpy as np
import numpy.typing as npt
import onnxruntime

from retrieval.bundle import Bundle
from retrieval.errors import BadBundle


class Embedder:
    """Runs a bundle's network on the CPU.

    Build it in the process that uses it: its threads do not survive a fork.

    Args:
        bundle: the model.
        threads: how many threads compute one batch.

    Raises:
        BadBundle: ONNX Runtime can't load the network.
    """

    def __init__(self, bundle: Bundle, threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(bundle.network, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises its own classes, which share no base but Exception
            raise BadBundle(f"ONNX Runtime can't load {bundle.network}: {error}", "Train the model again.") from None
        self._require_shapes(bundle)
        self.bundle = bundle
        self.dimension = bundle.dimension

    def embed(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The embeddings of a batch.

        Args:
            images: uint8 [batch, size, size, 3] RGB, as `images.read_pixels` makes them.

        Returns:
            float32 [batch, dimension], each row of unit length.
        """
        if len(images) == 0:
            return np.empty((0, self.dimension), np.float32)
        (embeddings,) = self._session.run(["embeddings"], {"images": images})
        return np.asarray(embeddings, np.float32)

    def _require_shapes(self, bundle: Bundle) -> None:
        size = bundle.resize.size
        inputs = {entry.name: entry.shape[1:] for entry in self._session.get_inputs()}
        outputs = {entry.name: entry.shape[1:] for entry in self._session.get_outputs()}
        if inputs != {"images": [size, size, 3]} or outputs != {"embeddings": [bundle.dimension]}:
            raise BadBundle(
                f"{bundle.network} is not the network that its bundle describes: it turns {inputs} into {outputs}.",
                "Train the model again.",
            )
