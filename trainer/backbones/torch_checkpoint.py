"""Reads the tensors of a PyTorch checkpoint without PyTorch.

Supports the format of `torch.save` before version 1.6: a magic number, the protocol version and system information
(one pickle each), the pickled state dict, the pickled list of storage keys, and the raw bytes of each storage.
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
    """A file is not a PyTorch checkpoint, or contains more than tensors."""


def read_state_dict(path: Path) -> dict[str, Array]:
    """Return the tensors of a checkpoint by name.

    The file consists of pickles, which can run code when loaded. This reader only resolves the few names that are
    needed to rebuild tensors, and rejects all others.

    Raises:
        BadCheckpoint: the file is not a checkpoint, is damaged, or refers to anything but tensors.
    """
    try:
        with path.open("rb") as file:
            return _read(file)
    except Exception as error:  # damaged pickles and sizes raise all kinds of errors
        raise BadCheckpoint(f"{path} is not a readable PyTorch checkpoint ({error}).", "Name another file.") from None


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
            raise ValueError("a tensor exceeds its storage")
        strides = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values, self.shape, strides).copy()


class _TensorUnpickler(pickle.Unpickler):
    """Resolves only the names that a state dict of tensors needs."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in STORAGE_DTYPES:
            return STORAGE_DTYPES[name]
        raise pickle.UnpicklingError(f"it refers to {module}.{name}, which is not part of a tensor")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, dtype, key, _device, size, _view = pid
        if kind != "storage" or not isinstance(dtype, np.dtype):
            raise pickle.UnpicklingError(f"it refers to a {kind}, which is not part of a tensor")
        return _Storage(dtype, key, size)


def _rebuild_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: Any
) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _read(file: BinaryIO) -> dict[str, Array]:
    if _TensorUnpickler(file).load() != MAGIC_NUMBER:
        raise ValueError("its magic number is wrong")
    for _ in ("protocol version", "system information"):
        _TensorUnpickler(file).load()
    tensors: dict[str, _Tensor] = _TensorUnpickler(file).load()
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {key: _read_storage(file, dtypes[key]) for key in _TensorUnpickler(file).load()}
    return {name: tensor.view(storages) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, dtype: np.dtype[Any]) -> Array:
    size = int.from_bytes(file.read(8), "little")
    content = file.read(size * dtype.itemsize)
    if len(content) != size * dtype.itemsize:
        raise EOFError("it is truncated")
    return np.frombuffer(content, dtype)
