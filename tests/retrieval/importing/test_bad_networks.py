"""What can't be imported is refused with one sentence that says why."""

from pathlib import Path

import networks
import onnx
import pytest
from commands import Command
from onnx import TensorProto, helper

from retrieval.errors import BadBundle, BadSource
from retrieval.importing import importer, wrapping
from retrieval.importing.importer import Options, import_network
from retrieval.importing.verification import EmbedsOtherwise
from retrieval.importing.wrapping import ImageNetwork


def refused(path: Path, message: str, **options: object) -> None:
    with pytest.raises(BadSource, match=message):
        import_network(str(path), path.parent / "bundle", Options(**options), lambda _: None)
    assert not (path.parent / "bundle").exists()
    assert not list(path.parent.glob(".bundle*"))


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02}q\x00", b"\x80\x04\x95"])
def test_a_pickle_is_not_opened(tmp_path: Path, start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(start + bytes(1000))
    monkeypatch.setattr(onnx, "load", lambda *_, **__: pytest.fail("the pickle was opened"))
    refused(path, "is a pickle of PyTorch, not an ONNX file; it was not opened")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not an ONNX file, or is not complete"),
        (b"\xff\xd8\xff\xe0 a photo", "is not an ONNX file, or is not complete"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "pointer of Git LFS"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "network.onnx"
    path.write_bytes(content)
    refused(path, message)


@pytest.mark.parametrize("part", [0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path: Path, part: float) -> None:
    path = networks.saved(networks.vision(), tmp_path / "network.onnx")
    path.write_bytes(path.read_bytes()[: int(part * path.stat().st_size)])
    refused(path, "not complete|can't run")


def test_truncated_weights_are_refused(tmp_path: Path) -> None:
    path, weights = tmp_path / "network.onnx", tmp_path / "weights"
    onnx.save(networks.vision(), path, save_as_external_data=True, location="weights", size_threshold=1024)
    weights.write_bytes(weights.read_bytes()[:2000])
    refused(path, "not complete|can't run")


def test_weights_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "network" / "network.onnx"
    path.parent.mkdir()
    onnx.save(networks.vision(), path, save_as_external_data=True, location="weights", size_threshold=1024)
    (path.parent / "weights").rename(tmp_path / "weights")
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../weights" if entry.key == "location" else entry.value
    onnx.save(model, path)
    refused(path, "outside of its folder")


def test_two_images_or_none_are_refused(tmp_path: Path) -> None:
    model = networks.vision()
    other = helper.make_tensor_value_info("other_photo", TensorProto.FLOAT, ["batch", 3, 32, 32])
    model.graph.input.append(other)
    model.graph.node.append(helper.make_node("ReduceMean", ["other_photo"], ["level"], keepdims=0))
    model.graph.node.append(helper.make_node("Mul", ["image_embeds", "level"], ["both"]))
    model.graph.output.append(helper.make_tensor_value_info("both", TensorProto.FLOAT, ["batch", 16]))
    path = networks.saved(model, tmp_path / "network.onnx")
    refused(path, "has 2 inputs of images: pixel_values, other_photo", output="both")
    refused(networks.saved(networks.text(50), path), "has no input of images; its inputs are input_ids, attention_mask")


def test_an_operator_that_onnx_runtime_lacks_is_named(tmp_path: Path) -> None:
    model = networks.vision()
    model.graph.node[0].op_type, model.graph.node[0].domain = "FancyConv", "com.example"
    model.opset_import.append(helper.make_opsetid("com.example", 1))
    refused(networks.saved(model, tmp_path / "network.onnx"), "can't run .*FancyConv")


def test_scores_of_classes_and_heat_maps_are_no_embedding(tmp_path: Path) -> None:
    model = networks.convolutional()
    model.graph.node.append(helper.make_node("Sigmoid", ["feature_map"], ["heat"]))
    model.graph.output[0].name = "heat"
    path = networks.saved(model, tmp_path / "network.onnx")
    refused(path, r"seems to be scores of classes, heat \[n, 24, 8, 8\]")


def test_a_wrong_size_names_the_option(tmp_path: Path) -> None:
    path = networks.saved(networks.vision(), tmp_path / "network.onnx")
    refused(path, "can't run .*--size", size=40)
    refused(path, "can't be cropped to 32", shorter_side=20)
    refused(path, "must not be 0", std=(1, 0, 1))


def test_folders_without_a_network_are_refused(tmp_path: Path) -> None:
    refused(tmp_path / "nothing", "does not exist")
    folder = tmp_path / "empty"
    folder.mkdir()
    refused(folder, "has no ONNX file in a known place. It should have onnx/model.onnx")
    (folder / "model.safetensors").touch()
    refused(folder, "has no ONNX file, but model.safetensors.*docs/models.md")


def test_the_step_that_differs_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = networks.saved(networks.vision(), tmp_path / "network.onnx")
    factors = ImageNetwork.factors.fget
    with monkeypatch.context() as changed:
        changed.setattr(ImageNetwork, "factors", property(lambda network: (factors(network)[0], factors(network)[0])))
        with pytest.raises(EmbedsOtherwise, match="the normalization differs"):
            import_network(str(path), tmp_path / "bundle", Options(), lambda _: None)
    with monkeypatch.context() as changed:
        rule = importer.Preprocessing.rule.fget
        shifted = property(lambda prepare: rule(prepare).model_copy(update={"shorter_side": 36}))
        changed.setattr(importer.Preprocessing, "rule", shifted)
        with pytest.raises(EmbedsOtherwise, match="resizing differs"):
            import_network(str(path), tmp_path / "bundle", Options(), lambda _: None)
    with monkeypatch.context() as changed:
        pooled = wrapping._pooled

        def noisy(graph, output, network):
            nodes = pooled(graph, output, network)
            return [*nodes, helper.make_node("Abs", [nodes[-1].output[0]], ["positive"])]

        changed.setattr(wrapping, "_pooled", noisy)
        with pytest.raises(EmbedsOtherwise, match="the network differs"):
            import_network(str(path), tmp_path / "bundle", Options(), lambda _: None)
    assert not (tmp_path / "bundle").exists()


def test_a_folder_that_is_no_bundle_is_not_replaced(tmp_path: Path) -> None:
    path = networks.saved(networks.vision(), tmp_path / "network.onnx")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/one.jpg").touch()
    with pytest.raises(BadBundle, match="is not a model bundle"):
        import_network(str(path), tmp_path / "photos", Options(), lambda _: None)


def test_the_command_reports_what_it_chose(tmp_path: Path, command: Command) -> None:
    path = networks.saved(networks.vision(), tmp_path / "network.onnx")
    called = command("import", path, "--out", tmp_path / "bundle", "--mean", "0.5", "--std", "0.5,0.5,0.5", "--json")
    assert called.status == 0
    assert called.json["bundle"] == str(tmp_path / "bundle")
    assert {"name": "mean", "value": "0.5, 0.5, 0.5", "by": "option"} in called.json["choices"]
    assert called.json["min_cosine"] >= 0.9999
    assert 0.9 < called.json["reduced_jpeg_cosine"] <= 1.0001
    table = command("import", path, "--out", tmp_path / "bundle")
    assert "bicubic" in table.out
    assert "16 dimensions" in table.out
    assert command("import", path, "--out", tmp_path / "bundle", "--mean", "1,2").status == 2
    assert command("import", tmp_path, "--out", tmp_path / "bundle", "--json").json["remedy"].startswith("It should")
