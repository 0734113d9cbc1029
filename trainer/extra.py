"""What is installed only with `lookalike[train]`."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from retrieval.errors import LookalikeError


@contextmanager
def require_training_extra() -> Iterator[None]:
    """Around imports of what only training needs; raises `LookalikeError` where it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TensorFlow Addons warns that it is no longer developed
            yield
    except ImportError as error:
        raise LookalikeError(
            f"Training needs TensorFlow and its companions ({error}).",
            "Run `pip install 'lookalike[train]'` under Python 3.11.",
        ) from None


def import_tensorflow() -> None:
    """Import TensorFlow, quietly.

    Raises:
        LookalikeError: it is not installed.
    """
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    with require_training_extra():
        import tensorflow  # noqa: PLC0415 - an extra
        import tensorflow_addons  # noqa: F401, PLC0415 - an extra
    tensorflow.get_logger().setLevel("ERROR")


def first_line(error: Exception) -> str:
    """What an error of TensorFlow says, without its stack and its advice."""
    return str(error).strip().partition("\n")[0].rstrip(".")
