"""Plain ONNX files become bundles that embed photos as the networks do."""

import hashlib
from pathlib import Path

import networks
import numpy as np
import onnx
import pytest
from onnx import TensorProto

from retrieval.bundle import load_bundle
from retrieval.embedder import Embedder
from retrieval.errors import BadSource
from retrieval.importing.importer import Imported, Options, import_network


def imported(path: Path, **options: object) -> Imported:
    found = import_network(str(path), path.parent / "bundle", Options(**options), lambda _: None)
    bundle = load_bundle(found.bundle.folder)
    embeddings = Embedder(bundle, threads=1).embed(np.full((3, networks.SIZE, networks.SIZE, 3), 77, np.uint8))
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)
    assert found.parity.min_cosine >= 0.9999
    assert [(part.name, part.weight) for part in bundle.manifest.parts] == [("look", 1)]
    return found


def chosen(found: Imported) -> dict[str, tuple[str, str]]:
    return {choice.name: (choice.value, choice.by) for choice in found.choices}


@pytest.mark.parametrize("opset", [11, *(pytest.param(opset, marks=pytest.mark.slow) for opset in range(12, 20)), 20])
def test_every_opset_is_imported(tmp_path: Path, opset: int) -> None:
    found = imported(networks.saved(networks.vision(opset=opset), tmp_path / "network.onnx"))
    assert found.bundle.dimension == 16
    assert not found.one_by_one


def test_what_is_not_known_is_guessed_and_reported(tmp_path: Path) -> None:
    path = networks.saved(networks.vision(), tmp_path / "clip b.onnx")
    found = imported(path)
    assert chosen(found) == {
        "output": ("image_embeds", "graph"),
        "layout": ("nchw", "graph"),
        "size": ("32", "graph"),
        "shorter_side": ("32", "guess"),
        "resize": ("shortest", "guess"),
        "interpolation": ("bicubic", "guess"),
        "mean": ("0.485, 0.456, 0.406", "guess"),
        "std": ("0.229, 0.224, 0.225", "guess"),
    }
    manifest = found.bundle.manifest
    assert manifest.model_id.startswith("clip-b-")
    assert manifest.origin is not None
    assert manifest.origin.files == {"clip b.onnx": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    ("resize", "interpolation"), [("shortest", "bicubic"), ("squash", "lanczos"), ("pad", "bilinear")]
)
def test_photos_are_resized_as_the_options_say(tmp_path: Path, resize: str, interpolation: str) -> None:
    path = networks.saved(networks.convolutional(), tmp_path / "network.onnx")
    options = {
        "resize": resize,
        "interpolation": interpolation,
        "shorter_side": 37,
        "mean": (0.5,) * 3,
        "std": (0.25,) * 3,
    }
    found = imported(path, **options)
    assert {by for name, (_, by) in chosen(found).items() if name in options} == {"option"}


def test_channels_last_half_precision_and_the_first_token(tmp_path: Path) -> None:
    model = networks.vision(layout="nhwc", type=TensorProto.FLOAT16, pooled=False, output="last_hidden_state")
    found = imported(networks.saved(model, tmp_path / "network.onnx"))
    assert chosen(found)["layout"] == ("nhwc", "graph")
    assert chosen(found)["pool"] == ("cls", "guess")
    assert found.bundle.dimension == networks.WIDTH
    assert imported(tmp_path / "network.onnx", pool="mean").bundle.model_id != found.bundle.model_id


def test_a_feature_map_is_averaged(tmp_path: Path) -> None:
    path = networks.saved(networks.convolutional(), tmp_path / "network.onnx")
    found = imported(path)
    assert chosen(found)["pool"] == ("mean", "guess")
    assert found.bundle.dimension == networks.WIDTH
    with pytest.raises(BadSource, match="feature map"):
        imported(path, pool="cls")


@pytest.mark.parametrize("fixed_inside", [False, True])
def test_a_network_for_one_photo_embeds_batches(tmp_path: Path, fixed_inside: bool) -> None:
    path = networks.saved(networks.vision(batch=1, fixed_inside=fixed_inside), tmp_path / "network.onnx")
    assert imported(path).one_by_one == fixed_inside


def test_weights_in_other_files_become_part_of_the_bundle(tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    onnx.save(networks.vision(), path, save_as_external_data=True, location="network.onnx_data", size_threshold=1024)
    found = imported(path)
    assert found.bundle.manifest.origin is not None
    assert set(found.bundle.manifest.origin.files) == {"network.onnx", "network.onnx_data"}
    (tmp_path / "network.onnx_data").unlink()
    with pytest.raises(BadSource, match=r"network\.onnx_data, which is missing"):
        imported(path)


@pytest.mark.parametrize("name", ["images", "embeddings"])
def test_names_of_the_network_do_not_clash_with_those_of_the_bundle(tmp_path: Path, name: str) -> None:
    model = networks.vision(name="images", output="embeddings") if name == "images" else networks.vision(name=name)
    imported(networks.saved(model, tmp_path / "network.onnx"))


def test_an_inner_tensor_can_be_the_embedding(tmp_path: Path) -> None:
    path = networks.saved(networks.convolutional(classes=1000), tmp_path / "network.onnx")
    with pytest.raises(BadSource, match=r"scores of classes, scores_of_classes \[n, 1000\].*--output; flat or"):
        imported(path)
    assert imported(path, output="flat").bundle.dimension == networks.WIDTH
    with pytest.raises(BadSource, match="no tensor nothing"):
        imported(path, output="nothing")
