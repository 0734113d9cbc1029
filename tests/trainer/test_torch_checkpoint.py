import io
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from trainer.backbones.torch_checkpoint import MAGIC_NUMBER, BadCheckpoint, read_state_dict


class Named:
    """Pickled as a reference to a name that this process does not have."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name


class Pickler(pickle._Pickler):  # the one in Python: its way of writing a name can be chosen
    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def persistent_id(self, value: object) -> object:
        return value[1:] if isinstance(value, tuple) and value[:1] == ("persistent",) else None

    def save_named(self, value: Named) -> None:
        self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())

    dispatch[Named] = save_named


class Tensor:
    """Pickled as PyTorch pickles a tensor."""

    def __init__(self, key: str, size: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int = 0) -> None:
        self.arguments = (
            ("persistent", "storage", Named("torch", "FloatStorage"), key, "cpu", size, None),
            offset,
            shape,
            strides,
            False,
            OrderedDict(),
        )


def save_tensor(pickler: Pickler, tensor: Tensor) -> None:
    pickler.save(Named("torch._utils", "_rebuild_tensor_v2"))
    pickler.save(tensor.arguments)
    pickler.write(pickle.REDUCE)


Pickler.dispatch[Tensor] = save_tensor


def checkpoint(path: Path, state: object, storages: dict[str, np.ndarray]) -> Path:
    file = io.BytesIO()
    for part in (MAGIC_NUMBER, 1001, {"little_endian": True}, state, list(storages)):
        Pickler(file, 2).dump(part)
    for values in storages.values():
        file.write(len(values).to_bytes(8, "little") + values.astype("<f4").tobytes())
    path.write_bytes(file.getvalue())
    return path


def test_tensors_are_views_of_their_storage(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32)
    state = OrderedDict(rows=Tensor("7", 12, (3, 4), (4, 1)), columns=Tensor("7", 12, (3, 2), (1, 3), offset=6))
    tensors = read_state_dict(checkpoint(tmp_path / "weights.pth", state, {"7": values}))
    assert tensors["rows"].tolist() == values.reshape(3, 4).tolist()
    assert tensors["columns"].tolist() == values[6:].reshape(2, 3).T.tolist()


def test_code_is_rejected_and_does_not_run(tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "attacked"),)

    path = tmp_path / "attack.pth"
    path.write_bytes(pickle.dumps(MAGIC_NUMBER) + pickle.dumps(1001) + pickle.dumps({}) + pickle.dumps({"x": Attack()}))
    with pytest.raises(BadCheckpoint, match=r"posix.mkdir|nt.mkdir"):
        read_state_dict(path)
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    ("module", "name"), [("builtins", "eval"), ("os", "system"), ("torch", "load"), ("collections", "defaultdict")]
)
def test_every_name_that_is_not_part_of_a_tensor_is_rejected(tmp_path: Path, module: str, name: str) -> None:
    path = checkpoint(tmp_path / "weights.pth", OrderedDict(x=Named(module, name)), {})
    with pytest.raises(BadCheckpoint, match=f"{module}.{name}"):
        read_state_dict(path)


def test_a_tensor_beyond_its_storage_is_rejected(tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "weights.pth", OrderedDict(x=Tensor("1", 4, (3, 4), (4, 1))), {"1": np.zeros(4)})
    with pytest.raises(BadCheckpoint, match="exceeds its storage"):
        read_state_dict(path)


def test_damaged_files_and_other_files_are_rejected(tmp_path: Path) -> None:
    whole = checkpoint(tmp_path / "whole.pth", OrderedDict(x=Tensor("1", 4, (4,), (1,))), {"1": np.zeros(4)})
    endless = whole.read_bytes()[:-24] + (2**62).to_bytes(8, "little")  # where there were the size and four numbers
    for name, content in [("cut", whole.read_bytes()[:-3]), ("endless", endless), ("text", b"weights"), ("empty", b"")]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadCheckpoint):
            read_state_dict(tmp_path / name)
    with pytest.raises(BadCheckpoint):
        read_state_dict(tmp_path / "missing")
