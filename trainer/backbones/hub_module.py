"""Image feature vectors of TensorFlow Hub, and SavedModels with the same interface in folders."""

import hashlib
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from retrieval.errors import LookalikeError, first_line
from retrieval.images import ResizeRule
from trainer.backbones.base import AUTO, NONE, Backbone
from trainer.download import Unreachable, reachable
from trainer.extra import import_tensorflow, require_training_extra

if TYPE_CHECKING:
    import tensorflow as tf

HUB = "https://tfhub.dev/"


@dataclass(frozen=True, kw_only=True)
class HubModule(Backbone):
    """A SavedModel from photos to feature vectors, all of whose layers are trainable.

    It follows the common image API of TensorFlow Hub, float32 [batch, height, width, 3] in 0…1 → float32 [batch, f]:
    https://www.tensorflow.org/hub/common_saved_model_apis/images. The weights of `build` are the handle or folder of
    another SavedModel; `none` is an error.
    """

    handle: str  # a URL, a name at tfhub.dev such as `google/bit/m-r50x1/1`, or a folder

    def _normalized(self, pixels: "tf.Tensor") -> "tf.Tensor":
        from tensorflow.keras import layers  # noqa: PLC0415 - takes seconds

        return layers.Rescaling(1 / 255, name="rescaling")(pixels)

    def _network(self, pixels: "tf.Tensor", normalized: "tf.Tensor", weights: str) -> "tf.keras.Model":
        from tensorflow.keras import Model  # noqa: PLC0415 - takes seconds

        if weights == NONE:
            raise LookalikeError(f"{self.name} can't be built without its weights.", "Omit `--weights none`.")
        folder = _folder(self.handle if weights == AUTO else weights)
        loaded = _load(folder)
        size = _only_size(loaded)
        if size is not None and {self.resize.size, self.train_size} != {size}:
            raise LookalikeError(f"{folder} accepts only photos of {size} px.", f"Use `--backbone hub:{folder}`.")
        return Model(pixels, _layer(loaded, folder, self.resize.size)(normalized), name=self.name)


def hub_module(handle: str) -> HubModule:
    """Return the backbone of a handle, with the input size that it accepts, or 224 px if it accepts any.

    Raises `LookalikeError` if TensorFlow is not installed, or the SavedModel is not available.
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
    """Turn the last name of a folder, or a whole handle, into a file name."""
    folder = Path(handle)
    plain = folder.resolve().name if folder.is_dir() else handle.removeprefix(HUB)
    return f"hub_{re.sub('[^a-z0-9-]+', '_', plain.lower()).strip('_')}"


def _folder(handle: str) -> str:
    """Return the folder of a SavedModel, which is downloaded unless it is cached."""
    if Path(handle).is_dir():
        return handle
    if handle.startswith(("/", ".", "~")):
        raise LookalikeError(f"There is no folder {handle}.", "Name a folder with a SavedModel.")
    url = handle if "://" in handle else HUB + handle
    cache = os.environ.get("TFHUB_CACHE_DIR") or Path(tempfile.gettempdir(), "tfhub_modules")
    cached = Path(cache, hashlib.sha1(url.encode()).hexdigest())
    try:
        return _resolve(url, cached)
    except Exception as error:  # each way to download raises other exceptions
        raise LookalikeError(
            f"{handle} is not a folder and can't be downloaded ({first_line(error)}).",
            f"Download {url}?tf-hub-format=compressed on another computer and extract it to {cached}, "
            "or name the folder to which it is extracted.",
        ) from None


def _resolve(url: str, cached: Path) -> str:
    if not cached.is_dir() and not reachable(url):
        raise Unreachable(f"{url} does not respond")
    return str(_tensorflow_hub().resolve(url))


def _load(folder: str) -> Any:
    """Load a SavedModel; raise `LookalikeError` if it is unreadable or not callable."""
    try:
        loaded = _tensorflow_hub().load(folder)
    except Exception as error:  # TensorFlow raises all kinds of exceptions
        raise LookalikeError(
            f"{folder} contains no readable SavedModel ({first_line(error)}).", "Name another folder or handle."
        ) from None
    if not callable(loaded):
        raise _no_feature_vector(folder, "it can't be called")
    return loaded


def _only_size(loaded: Any) -> int | None:
    """Return the only input side that a SavedModel accepts, in pixels; None if it accepts any."""
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    traces = getattr(loaded.__call__, "concrete_functions", ())
    inputs = tf.nest.flatten([trace.structured_input_signature for trace in traces])
    images = [spec for spec in inputs if isinstance(spec, tf.TensorSpec) and spec.shape.rank == 4]
    sides = {side for spec in images for side in spec.shape[1:3]}
    return sides.pop() if len(sides) == 1 else None


def _layer(loaded: Any, folder: str, size: int) -> "tf.keras.layers.Layer":
    """Return a SavedModel as a trainable layer, after checking that it maps photos of that size to feature vectors."""
    import tensorflow as tf  # noqa: PLC0415 - takes seconds

    hub = _tensorflow_hub()
    try:
        features = hub.KerasLayer(loaded, trainable=True)(tf.zeros((1, size, size, 3)), training=False)
    except Exception:  # a SavedModel can raise any exception
        raise _no_feature_vector(folder, f"calling it with photos, float32 [batch, {size}, {size}, 3], fails") from None
    if not isinstance(features, tf.Tensor):
        raise _no_feature_vector(folder, f"it returns a {type(features).__name__}")
    if features.dtype != tf.float32 or features.shape.rank != 2:
        shape = ", ".join(map(str, features.shape[1:]))
        raise _no_feature_vector(folder, f"it returns {features.dtype.name} [batch, {shape}]")
    return hub.KerasLayer(loaded, trainable=True, output_shape=features.shape[1:], name="features")


def _no_feature_vector(folder: str, reason: str) -> LookalikeError:
    return LookalikeError(
        f"{folder} is not a network from photos to feature vectors, float32 [batch, f]: {reason}.",
        "Name another one, such as an image feature vector of TensorFlow Hub.",
    )


def _tensorflow_hub() -> Any:
    with require_training_extra():
        import tensorflow_hub  # type: ignore[import-untyped]  # noqa: PLC0415 - an extra
    return tensorflow_hub
