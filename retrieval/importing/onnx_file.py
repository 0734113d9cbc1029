"""ONNX files, read and written without their weights in memory.

A graph that was read has its large weights in files, as external data of ONNX do: `location` is the path of a file.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto
from onnx.external_data_helper import (
    load_external_data_for_tensor,
    set_external_data,
    uses_external_data,
)

from retrieval.errors import BadSource, first_line
from retrieval.importing.graph import inner_tensors

MOST_BYTES: Final = 2**31 - 1  # of a protocol buffer
FEW_BYTES: Final = 1024  # of weights that stay in the graph
PICKLES: Final = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def read_graph(path: Path, work: Path) -> tuple[onnx.ModelProto, list[Path]]:
    """Read an ONNX file; return its model, with large weights in files, and the names of all its files.

    Args:
        work: a folder for the weights that are in the ONNX file itself; they must stay there while the model is used.

    Raises:
        BadSource: it is no ONNX file, is not complete or is larger than 2 GB.
    """
    check_kind(path)
    try:
        model = onnx.load(path, load_external_data=False)
        outside = [tensor for tensor in model.graph.initializer if uses_external_data(tensor)]
        files = [path, *sorted({path.parent / _place(tensor)["location"] for tensor in outside})]
        _check_files(files)
        for tensor in outside:
            _locate(tensor, path.parent)
        for tensor in inner_tensors(model.graph):
            if uses_external_data(tensor):
                load_external_data_for_tensor(tensor, str(path.parent))
        _set_aside(model.graph.initializer, work / f"{path.stem}.weights")
    except (DecodeError, OSError, KeyError, ValueError, onnx.checker.ValidationError) as error:
        raise damaged(path, error) from None
    if not model.graph.node:
        raise damaged(path, ValueError("it has no operators"))
    return copy_of(model), files  # the memory of the weights is freed with the model that had them


def write_graph(model: onnx.ModelProto, path: Path) -> None:
    """Write a model as one ONNX file with all its weights.

    The weights are copied from file to file, after the fields of protocol buffers that announce them.
    """
    header, graph = copy_of(model), onnx.GraphProto()
    graph.CopyFrom(model.graph)
    header.ClearField("graph")
    graph.ClearField("initializer")
    content = graph.SerializeToString()
    announced = [_announced(tensor) for tensor in model.graph.initializer]
    length = len(content) + sum(len(start) + of_data for start, of_data in announced)
    with path.open("wb") as file:
        file.write(header.SerializeToString())
        file.write(_start_of(model, "graph", length) + content)
        for tensor, (start, of_data) in zip(model.graph.initializer, announced, strict=True):
            file.write(start)
            if of_data:
                file.write(_data(tensor, of_data))


def copy_of(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a model; large weights are in files, so that it takes little memory."""
    copied = onnx.ModelProto()
    copied.CopyFrom(model)
    return copied


def _locate(tensor: TensorProto, folder: Path) -> None:
    """Name the file of a tensor's weights by its whole path, and their place in it; small ones are loaded."""
    place = _place(tensor)
    location = Path(place["location"])
    if location.is_absolute() or ".." in location.parts:
        raise ValueError(f"it has weights in {location}, outside of its folder")
    path, offset = folder / location, int(place.get("offset", 0))
    size = path.stat().st_size
    length = int(place.get("length", size - offset))
    if offset < 0 or length < 0 or offset + length > size:
        raise ValueError(f"{location} ends before the weights {tensor.name}")
    if length < FEW_BYTES:
        load_external_data_for_tensor(tensor, str(folder))
        tensor.ClearField("external_data")
        tensor.ClearField("data_location")
    else:
        _set_place(tensor, path, offset, length)


def _set_aside(tensors: Iterable[TensorProto], path: Path) -> None:
    """Move the data of large tensors to a file."""
    with path.open("wb") as file:
        for tensor in tensors:
            if len(tensor.raw_data) >= FEW_BYTES:
                offset = file.tell()
                file.write(tensor.raw_data)
                _set_place(tensor, path, offset, file.tell() - offset)


def _place(tensor: TensorProto) -> dict[str, str]:
    """The file of a tensor's weights, `location`, and their `offset` and `length` in it, which may be missing."""
    return {entry.key: entry.value for entry in tensor.external_data}


def _set_place(tensor: TensorProto, path: Path, offset: int, length: int) -> None:
    tensor.raw_data = b""  # required by the function
    set_external_data(tensor, str(path.absolute()), offset, length)
    tensor.ClearField("raw_data")


def _announced(tensor: TensorProto) -> tuple[bytes, int]:
    """Return the bytes of a tensor in a graph before its weights in a file, and the number of bytes of these."""
    bare = TensorProto()
    bare.CopyFrom(tensor)
    bare.ClearField("external_data")
    bare.ClearField("data_location")
    content, length = bare.SerializeToString(), 0
    if uses_external_data(tensor):
        length = int(_place(tensor)["length"])
        content += _start_of(tensor, "raw_data", length)
    return _start_of(onnx.GraphProto(), "initializer", len(content) + length) + content, length


def _data(tensor: TensorProto, length: int) -> bytes:
    place = _place(tensor)
    with Path(place["location"]).open("rb") as file:
        file.seek(int(place["offset"]))
        return file.read(length)


def _start_of(message: Any, field: str, length: int) -> bytes:
    """The tag and the length with which a field of bytes starts: https://protobuf.dev/programming-guides/encoding."""
    tag = message.DESCRIPTOR.fields_by_name[field].number << 3 | 2
    return bytes([*_varint(tag), *_varint(length)])


def _varint(number: int) -> Iterator[int]:
    while number > 0x7F:
        yield number & 0x7F | 0x80
        number >>= 7
    yield number


def check_kind(path: Path) -> None:
    """Raise `BadSource` if a file can't be an ONNX file; a pickle is recognized by its first bytes, and not opened."""
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise BadSource(f"{path} can't be read ({error.strerror}).", "Check the name.") from None
    if start.startswith(PICKLES):
        raise BadSource(
            f"{path} is a pickle of PyTorch, not an ONNX file; it was not opened, since a pickle can run any program.",
            "Export the network as ONNX: docs/models.md says how.",
        )
    if start.startswith(b"vers"):
        raise BadSource(f"{path} is a pointer of Git LFS, not an ONNX file.", "Fetch the file itself: git lfs pull.")


def _check_files(files: Sequence[Path]) -> None:
    """Raise `BadSource` if files of weights are missing, or are too large together with the ONNX file, the first."""
    path = files[0]
    for file in files:
        if not file.is_file():
            raise BadSource(f"{path} has weights in {file.name}, which is missing.", f"Put it into {path.parent}.")
    if sum(file.stat().st_size for file in files) > MOST_BYTES:
        raise BadSource(f"{path} has more than 2 GB with its weights.", "Export it with float16 weights.")


def damaged(path: Path, error: Exception) -> BadSource:
    """The error of a file that is no complete ONNX file."""
    return BadSource(
        f"{path} is not an ONNX file, or is not complete ({first_line(error)}).", "Copy it again from its source."
    )
