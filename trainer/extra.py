"""Imports of the optional dependencies `lookalike[train]`."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from retrieval.errors import LookalikeError


@contextmanager
def require_training_extra() -> Iterator[None]:
    """Wrap imports of optional dependencies: raise `LookalikeError` if one is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorFlow Addons warns that its development has ended
            yield
    except ImportError as error:
        raise LookalikeError(
            f"Training needs TensorFlow and its companions ({error}).",
            "Run `pip install 'lookalike[train]'` under Python 3.11.",
        ) from None


def import_tensorflow() -> None:
    """Import TensorFlow and TensorFlow Addons; raises `LookalikeError` if they are not installed."""
    with require_training_extra():
        import tensorflow  # noqa: F401, PLC0415 - an extra
        import tensorflow_addons  # noqa: F401, PLC0415 - an extra


def silence_tensorflow() -> None:
    """Turn off the log messages of TensorFlow and its converter in this process, before TensorFlow is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)  # ONNX Runtime reports what could not be converted
