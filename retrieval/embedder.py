"""Photos to embeddings, with ONNX Runtime."""

from threading import Lock

import numpy as np
import numpy.typing as npt

from retrieval.bundle import Bundle
from retrieval.errors import BadBundle, LookalikeError, NotFound
from retrieval.session import Session
from retrieval.settings import Device

IMAGES, EXPLAIN = "images", "explain"
EMBEDDINGS, REGIONS = "embeddings", "regions"


class Embedder:
    """Runs a bundle's network on a device; on a CPU, `threads` of its threads compute a batch.

    Build it in the process that uses it: its threads do not survive a fork.

    Raises:
        BadBundle: ONNX Runtime can't load the network.
        LookalikeError: the named device can't be used.
    """

    def __init__(self, bundle: Bundle, threads: int, device: Device = "cpu") -> None:
        try:
            self.session = Session(bundle.network, device, threads)
        except LookalikeError:
            raise
        except Exception as error:  # ONNX Runtime raises its own classes, which share no base but Exception
            raise BadBundle(f"ONNX Runtime can't load {bundle.network}: {error}", "Train the model again.") from None
        self._require_shapes(bundle)
        self.threads = threads
        self._creating = Lock()
        self._single: Session | None = None  # of one thread, created when it is first used
        self.bundle = bundle
        self.dimension = bundle.dimension

    def embed(self, images: npt.NDArray[np.uint8], *, parallel: bool = True) -> npt.NDArray[np.float32]:
        """Return the embeddings of a batch.

        Args:
            images: uint8 [batch, size, size, 3] RGB, as `PhotoDecoder.read_pixels` makes them.
            parallel: use the intra-op thread pool; pass False when several batches run concurrently, since threads
                that share a batch spin while they wait for each other and take the cores of the other batches.

        Returns:
            float32 [batch, dimension], each row of unit length.
        """
        if len(images) == 0:
            return np.empty((0, self.dimension), np.float32)
        session = self.session if parallel else self._one_thread()
        return session.run(EMBEDDINGS, {IMAGES: images})

    def _one_thread(self) -> Session:
        if self.threads == 1 or self.session.device != "cpu":
            return self.session
        with self._creating:
            self._single = self._single or Session(self.bundle.network, threads=1)
        return self._single

    @property
    def has_regions(self) -> bool:
        """Whether the network can return what each region of a photo adds to its embedding; older bundles can't."""
        return EXPLAIN in self.session.optional_inputs

    def regions(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return what each cell of the network's last feature map adds to the embeddings of images, as for `embed`.

        Returns:
            float32 [batch, h, w, dimension]; the sum over the h × w cells is the embedding of unit length.

        Raises:
            NotFound: the network has no output for it.
        """
        if not self.has_regions:
            raise NotFound(
                f"The model {self.bundle.model_id} can't explain which regions of a photo made its embedding.",
                "Train it again with this version, on a backbone that ends with a global pooling.",
            )
        return self.session.run(REGIONS, {IMAGES: images, EXPLAIN: np.array(True)})

    def _require_shapes(self, bundle: Bundle) -> None:
        size, dimension = bundle.resize.size, bundle.dimension
        inputs = {name: shape[1:] for name, shape in self.session.inputs.items()}
        outputs = {name: shape[1:] for name, shape in self.session.outputs.items()}
        are_described = outputs.get(EMBEDDINGS) == [dimension] == outputs.get(REGIONS, [dimension])[-1:]
        if inputs != {IMAGES: [size, size, 3]} or not are_described:
            raise BadBundle(
                f"{bundle.network} is not the network that its bundle describes: it turns {inputs} into {outputs}.",
                "Train the model again.",
            )
