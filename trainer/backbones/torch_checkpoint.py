"""Reads the tensors of a PyTorch checkpoint without PyTorch.

Only the format that `torch.save` wrote before version 1.6: a magic number, a protocol version and facts about the
system (a pickle each), the pickled state dict, the pickled list of storage keys, and each storage's raw bytes.
"""

import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from retrieval.errors import LookalikeError

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
STORAGE_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}

Array = npt.NDArray[Any]


class BadCheckpoint(LookalikeError):
    """A file that is no PyTorch checkpoint, or one that asks for more than tensors."""


def read_state_dict(path: Path) -> dict[str, Array]:
    """The tensors of a checkpoint by name.

    The file is pickled, and pickles can run code: this reader resolves the handful of names that rebuild a tensor, and
    refuses every other.

    Raises:
        BadCheckpoint: not such a file, a damaged one, or one that names anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except Exception as error:  # damaged pickles and sizes fail in any way
        raise BadCheckpoint(
            f"{path} is no PyTorch checkpoint that can be read ({error}).", "Name another file."
        ) from None


class _Storage(NamedTuple):
    dtype: np.dtype[Any]
    key: str
    size: int


class _Tensor(NamedTuple):
    """A view into a storage, in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, storages: dict[str, Array]) -> Array:
        values = storages[self.storage.key][self.offset :]
        last = sum((length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True))
        if min(self.strides, default=0) < 0 or last >= len(values):
            raise ValueError("a tensor reaches beyond its storage")
        strides = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, strides).copy()


class _TensorUnpickler(pickle.Unpickler):
    """Resolves what a state dict of tensors consists of, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no part of a tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _device, size, _view = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to a {kind}, which is no part of a tensor")
        return _Storage(dtype, key, size)


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _read(file: BinaryIO) -> dict[str, Array]:
    if _TensorUnpickler(file).load() != MAGIC_NUMBER:
        raise ValueError("its magic number is another")
    for _ in ("protocol version", "facts about the system"):
        _TensorUnpickler(file).load()
    tensors: dict[str, _Tensor] = _TensorUnpickler(file).load()
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {key: _read_storage(file, dtypes[key]) for key in _TensorUnpickler(file).load()}
    return {name: tensor.view(storages) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype[Any]) -> Array:
    size = int.from_bytes(file.read(8), "little")
    content = file.read(size * dtype.itemsize)
    if len(content) != size * dtype.itemsize:
        raise EOFError("it ends too early")
    return np.frombuffer(content, dtype)
