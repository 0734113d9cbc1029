"""Networks of TensorFlow Hub, and SavedModels in folders that are called as those are."""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import LookalikeError
from retrieval.images import ResizeRule
from trainer.backbones.base import AUTO, NONE, Backbone
from trainer.download import Unreachable, reachable
from trainer.extra import first_line, import_tensorflow, require_training_extra

if TYPE_CHECKING:
    import tensorflow as tf

HUB = "https://tfhub.dev/"


@dataclass(frozen=True, kw_only=True)
class HubModule(Backbone):
    """A SavedModel that turns photos into feature vectors; it is trained whole or not at all.

    It is called with float32 [batch, height, width, 3] in 0…1 and returns [batch, f], as TensorFlow Hub has agreed on:
    https://www.tensorflow.org/hub/common_saved_model_apis/images. What `build` takes for weights is a folder or handle
    with another SavedModel; `none` is refused.

    Attributes:
        handle: an address, a name at tfhub.dev such as `google/bit/m-r50x1/1`, or a folder.
    """

    handle: str

    def _normalised(self, pixels: "tf.Tensor") -> "tf.Tensor":
        from tensorflow.keras import layers  # noqa: PLC0415 - takes seconds

        return layers.Rescaling(1 / 255, name="rescaling")(pixels)

    def _network(self, pixels: "tf.Tensor", normalised: "tf.Tensor", weights: str) -> "tf.keras.Model":
        from tensorflow.keras import Model  # noqa: PLC0415 - takes seconds

        if weights == NONE:
            raise LookalikeError(f"{self.name} can't be had without its weights.", "Leave `--weights none` away.")
        folder = _folder(self.handle if weights == AUTO else weights)
        loaded = _load(folder)
        size = _only_size(loaded)
        if size is not None and {self.resize.size, self.train_size} != {size}:
            raise LookalikeError(f"{folder} accepts photos of {size} px alone.", f"Take `--backbone hub:{folder}`.")
        return Model(pixels, _layer(loaded, folder, self.resize.size)(normalised), name=self.name)


def hub_module(handle: str) -> HubModule:
    """The network with that handle, in the size that it accepts, or 224 px where it accepts any.

    Raises:
        LookalikeError: TensorFlow is not installed, or the network can't be had.
    """
    import_tensorflow()
    size = _only_size(_load(_folder(handle)))
    return HubModule(
        name=_name(handle),
        description=f"The SavedModel {handle}, {size or 224} px",
        resize=ResizeRule(size=size or 224, shorter_side=size or 224),
        train_size=size or 160,
        fixed_size=size is not None,
        handle=handle,
    )


BIT_M_R50X1 = HubModule(
    name="bit_m_r50x1",
    description="BiT m-r50x1, 224 px, ImageNet-21k weights downloaded from TensorFlow Hub",
    resize=ResizeRule(size=224, shorter_side=224),
    train_size=160,
    handle="google/bit/m-r50x1/1",
)


def _name(handle: str) -> str:
    """A folder's last name, or a handle's whole, in what is plain in file names."""
    folder = Path(handle)
    plain = folder.resolve().name if folder.is_dir() else handle.removeprefix(HUB)
    return f"hub_{re.sub('[^a-z0-9-]+', '_', plain.lower()).strip('_')}"


def _folder(handle: str) -> str:
    """The folder of a SavedModel, downloaded unless it is here."""
    if Path(handle).is_dir():
        return handle
    if handle.startswith(("/", ".", "~")):
        raise LookalikeError(f"There is no folder {handle}.", "Name a folder with a SavedModel.")
    url = handle if "://" in handle else HUB + handle
    cache = os.environ.get("TFHUB_CACHE_DIR") or Path(tempfile.gettempdir(), "tfhub_modules")
    cached = Path(cache, hashlib.sha1(url.encode()).hexdigest())
    try:
        return _resolve(url, cached)
    except Exception as error:  # every way of downloading has its own
        raise LookalikeError(
            f"{handle} is no folder here and can't be downloaded ({first_line(error)}).",
            f"Bring the archive {url}?tf-hub-format=compressed from elsewhere and unpack it into {cached}, "
            "or name the folder where it is unpacked.",
        ) from None


def _resolve(url: str, cached: Path) -> str:
    if not cached.is_dir() and not reachable(url):
        raise Unreachable(f"{url} does not answer")
    return str(_tensorflow_hub().resolve(url))


def _load(folder: str) -> Any:
    """The SavedModel's root; raises `LookalikeError` where there is none that can be called."""
    try:
        loaded = _tensorflow_hub().load(folder)
    except Exception as error:  # TensorFlow raises whatever it stumbles on
        raise LookalikeError(
            f"{folder} holds no SavedModel that can be read ({first_line(error)}).", "Name another folder or handle."
        ) from None
    if not callable(loaded):
        raise _no_feature_vector(folder, "it can't be called")
    return loaded


def _only_size(loaded: Any) -> int | None:
    """The side of the square photos that a SavedModel was saved for; None where it accepts any."""
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    traces = getattr(loaded.__call__, "concrete_functions", ())
    inputs = tf.nest.flatten([trace.structured_input_signature for trace in traces])
    images = [spec for spec in inputs if isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4]
    sides = {side for spec in images for side in spec.shape[1:3]}
    return sides.pop() if len(sides) == 1 else None


def _layer(loaded: Any, folder: str, size: int) -> "tf.keras.layers.Layer":
    """A SavedModel as a layer that can be trained, once it has turned a photo of that size into a feature vector."""
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    hub = _tensorflow_hub()
    try:
        features = hub.KerasLayer(loaded, trainable=True)(tf.zeros((1, size, size, 3)), training=False)
    except Exception:  # a SavedModel may fail in any way
        raise _no_feature_vector(folder, f"calling it with photos, float32 [batch, {size}, {size}, 3], fails") from None
    if not isinstance(features, tf.Tensor):
        raise _no_feature_vector(folder, f"it returns a {type(features).__name__}")
    if features.dtype != tf.float32 or features.shape.rank != 2:
        shape = ", ".join(map(str, features.shape[1:]))
        raise _no_feature_vector(folder, f"it returns {features.dtype.name} [batch, {shape}]")
    return hub.KerasLayer(loaded, trainable=True, output_shape=features.shape[1:], name="features")


def _no_feature_vector(folder: str, reason: str) -> LookalikeError:
    return LookalikeError(
        f"{folder} is no network from photos to feature vectors, float32 [batch, f]: {reason}.",
        "Name another, such as one that TensorFlow Hub calls an image feature vector.",
    )


def _tensorflow_hub() -> Any:
    with require_training_extra():
        import tensorflow_hub  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
    return tensorflow_hub
