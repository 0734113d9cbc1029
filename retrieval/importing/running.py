"""Errors of ONNX Runtime on the network that is imported."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from retrieval.errors import BadSource, LookalikeError, first_line
from retrieval.session import runtime_version


@contextmanager
def running(path: Path) -> Iterator[None]:
    """Within the context, raise an error of ONNX Runtime as `BadSource`."""
    try:
        yield
    except LookalikeError:
        raise
    except Exception as error:  # ONNX Runtime raises its own classes, which share no base but Exception
        raise BadSource(
            f"ONNX Runtime {runtime_version()} can't run {path} ({first_line(error)}).",
            "If it lacks an operator, export the network with standard operators and an older opset; if the size of "
            "the input is wrong, name it with --size.",
        ) from None
