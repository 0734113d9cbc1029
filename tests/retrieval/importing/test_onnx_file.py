"""ONNX files are read and written without their weights in memory."""

import tracemalloc
from pathlib import Path

import networks
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from retrieval.importing.onnx_file import read_graph, write_graph


@pytest.mark.parametrize("external", [False, True])
def test_a_file_comes_back_with_the_same_weights(tmp_path: Path, external: bool) -> None:
    path, model = tmp_path / "network.onnx", networks.vision()
    before = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    onnx.save(model, path, save_as_external_data=external, location="weights", size_threshold=0)
    read, files = read_graph(path, tmp_path)
    assert files == [path, tmp_path / "weights"] if external else [path]
    assert max(len(tensor.raw_data) for tensor in read.graph.initializer) < 1024
    write_graph(read, tmp_path / "written.onnx")
    written = onnx.load(tmp_path / "written.onnx", load_external_data=False)
    onnx.checker.check_model(written)
    assert {tensor.name for tensor in written.graph.initializer} == before.keys()
    for tensor in written.graph.initializer:
        np.testing.assert_array_equal(numpy_helper.to_array(tensor), before[tensor.name])
    del read.graph.initializer[:], written.graph.initializer[:]
    assert read == written


def test_a_model_is_written_with_one_of_its_weights_in_memory(tmp_path: Path) -> None:
    graph = networks.Graph()
    for _ in range(8):
        graph.weight(512, 512)
    last = graph.add("Identity", "input", named="output")
    model = graph.model({"input": (graph.type, ["n", 4])}, {last: ["n", 4]})
    path = networks.saved(model, tmp_path / "network.onnx")
    read, _ = read_graph(path, tmp_path)
    tracemalloc.start()
    write_graph(read, tmp_path / "written.onnx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < path.stat().st_size / 4
