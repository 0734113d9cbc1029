"""Folders laid out like those of Hugging Face and Immich become bundles."""

import json
from collections.abc import Callable
from pathlib import Path

import networks
import numpy as np
import pytest
from onnx import TensorProto, helper
from tokenizers import Tokenizer

from retrieval.bundle import load_bundle
from retrieval.errors import BadSource
from retrieval.images import ResizeRule
from retrieval.importing.importer import Imported, Options, import_network
from retrieval.text_embedder import TextEmbedder

CENTRE = {"whole_pixels": True, "interpolation": "bicubic"}


def imported(folder: Path, **options: object) -> Imported:
    return import_network(str(folder), folder.parent / "bundle", Options(**options), lambda _: None)


def test_a_folder_of_hugging_face_is_imported_with_its_licence(tmp_path: Path) -> None:
    found = imported(networks.hugging_face(tmp_path / "dino"))
    manifest = found.bundle.manifest
    assert manifest.model_id.startswith("dino-")
    assert manifest.origin is not None
    assert manifest.origin.licence == "apache-2.0"
    assert set(manifest.origin.files) == {"onnx/model.onnx", "preprocessor_config.json"}
    assert {choice.by for choice in found.choices} == {"graph", "file"}
    assert not load_bundle(found.bundle.folder).has_text


@pytest.mark.parametrize(
    ("preprocessor", "rule"),
    [
        ({}, ResizeRule(size=32, shorter_side=32, **CENTRE)),
        ({"size": 40}, ResizeRule(size=32, shorter_side=40, **CENTRE)),
        ({"size": {"shortest_edge": 37}, "resample": 2}, ResizeRule(size=32, shorter_side=37, whole_pixels=True)),
        (
            {"size": {"height": 32, "width": 32}, "do_center_crop": False, "resample": 1},
            ResizeRule(size=32, shorter_side=32, mode="squash", interpolation="lanczos", whole_pixels=True),
        ),
        ({"size": 32, "do_center_crop": None}, ResizeRule(size=32, shorter_side=32, mode="squash", **CENTRE)),
        (
            {"size": {"shortest_edge": 32}, "do_center_crop": None, "crop_pct": 0.875},
            ResizeRule(size=32, shorter_side=36, **CENTRE),
        ),
    ],
)
def test_sizes_of_transformers(tmp_path: Path, preprocessor: dict[str, object], rule: ResizeRule) -> None:
    assert imported(networks.hugging_face(tmp_path / "model", **preprocessor)).bundle.resize == rule


def test_values_of_transformers(tmp_path: Path) -> None:
    plain = imported(networks.hugging_face(tmp_path / "plain"))
    other = imported(networks.hugging_face(tmp_path / "other", do_normalize=False, rescale_factor=1 / 127.5))
    assert {plain.parity.min_cosine >= 0.9999, other.parity.min_cosine >= 0.9999} == {True}
    assert {choice.name: choice.value for choice in other.choices}["std"] == "1, 1, 1"


def test_settings_of_timm_are_read_from_its_configuration(tmp_path: Path) -> None:
    folder = networks.hugging_face(tmp_path / "timm")
    (folder / "preprocessor_config.json").unlink()
    config = {
        "input_size": [3, 32, 32],
        "crop_pct": 0.9,
        "interpolation": "bicubic",
        "mean": [0.5] * 3,
        "std": [0.5] * 3,
    }
    (folder / "config.json").write_text(json.dumps({"pretrained_cfg": config}))
    assert imported(folder).bundle.resize == ResizeRule(size=32, shorter_side=35, **CENTRE)


def test_options_come_before_files(tmp_path: Path) -> None:
    found = imported(networks.hugging_face(tmp_path / "model"), resize="squash", interpolation="lanczos")
    assert found.bundle.resize.mode == "squash"
    assert {choice.name for choice in found.choices if choice.by == "option"} == {"resize", "interpolation"}


@pytest.mark.parametrize(("mode", "expected"), [("shortest", "crop"), ("squash", "squash"), ("longest", "pad")])
def test_a_folder_of_immich_is_imported(tmp_path: Path, mode: str, expected: str) -> None:
    found = imported(networks.immich(tmp_path / "clip", resize_mode=mode, fill_color=9))
    bundle = load_bundle(found.bundle.folder)
    assert bundle.has_text
    assert bundle.resize.mode == expected
    assert set(bundle.manifest.origin.files) == {
        "visual/model.onnx",
        "visual/preprocess_cfg.json",
        "textual/model.onnx",
        "textual/tokenizer.json",
    }
    assert found.text is not None
    assert found.text.longest == 20


def test_texts_are_cleaned_as_immich_does(tmp_path: Path) -> None:
    bundle = imported(networks.immich(tmp_path / "siglip", clean=True)).bundle
    embedder = TextEmbedder(bundle.tokenizer, bundle.text_network, threads=1)
    first, second, third = embedder.embed(["A red TULIP!", "a   red tulip", "a red rose"])
    np.testing.assert_allclose(first, second, atol=1e-6)
    assert first @ third < 0.999


@pytest.mark.parametrize(
    "of_text",
    [
        {},
        {"type": TensorProto.INT32},
        {"mask": False, "zeros": True},
        {"pooled": False},
        {"pooled": False, "mask": False, "output": "last_hidden_state"},
        {"length": 24, "zeros": True},
    ],
)
def test_text_networks(tmp_path: Path, of_text: dict[str, object]) -> None:
    found = imported(networks.two_towers(tmp_path / "clip", **of_text))
    bundle = load_bundle(found.bundle.folder)
    assert found.text is not None
    assert found.text.min_cosine >= 0.9999
    embedder = TextEmbedder(bundle.tokenizer, bundle.text_network, threads=1)
    embeddings = embedder.embed(["a red tulip", "ночь", "x " * 500])
    assert embeddings.shape == (3, bundle.dimension)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-5)


def test_a_graph_with_both_towers_is_divided(tmp_path: Path) -> None:
    folder = networks.two_towers(tmp_path / "clip")
    vision = networks.vision()
    text = networks.text(Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size())
    for node in text.graph.node:
        node.input[:] = [f"text/{name}" if name.startswith("weight") else name for name in node.input]
        node.input[:] = [f"text/{name}" if "_" in name and name[0].isupper() else name for name in node.input]
        node.output[:] = [f"text/{name}" if "_" in name and name[0].isupper() else name for name in node.output]
    for weight in text.graph.initializer:
        weight.name = f"text/{weight.name}"
    vision.graph.MergeFrom(text.graph)
    vision.graph.name = "both"
    logits = helper.make_node("MatMul", ["image_embeds", "text_embeds"], ["logits_per_image"])
    vision.graph.node.append(logits)
    vision.graph.output.insert(0, helper.make_tensor_value_info("logits_per_image", TensorProto.FLOAT, ["n", "t"]))
    for name in ("vision_model", "text_model"):
        (folder / f"onnx/{name}.onnx").unlink()
    networks.saved(vision, folder / "onnx/model.onnx")
    found = imported(folder)
    assert {choice.name: choice.value for choice in found.choices}["output"] == "image_embeds"
    assert found.text is not None
    assert found.text.output == "text_embeds"


def write_json(name: str, **fields: object) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(json.dumps(fields)) and None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        ({"resample": 0}, "unknown interpolation, nearest"),
        ({"resample": 9}, "unknown interpolation, 9"),
        ({"size": None}, "does not say to which size.*--size"),
        ({"size": {"height": 32, "width": 16}, "do_center_crop": None}, "32 × 16 pixels"),
        ({"do_center_crop": None}, "not square"),
        ({"size": {"longest_edge": 32}}, "padded"),
        ({"do_flip_channel_order": True}, "order of the colours is reversed"),
        ({"crop_size": 48}, "photos of 32 pixels are cropped to 48"),
        ({"image_mean": [0.5]}, "image_mean"),
        ({"do_resize": False}, "not resized"),
    ],
)
def test_a_description_that_can_not_be_used_is_refused(tmp_path: Path, spoil: dict[str, object], message: str) -> None:
    with pytest.raises(BadSource, match=message):
        imported(networks.hugging_face(tmp_path / "model", **spoil))
    assert not (tmp_path / "bundle").exists()


def test_a_tokenizer_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = networks.two_towers(tmp_path / "clip")
    networks.saved(networks.text(200), folder / "onnx/text_model.onnx")
    with pytest.raises(BadSource, match=r"tokenizer of another network: it has 300 tokens, and .* has 200"):
        imported(folder)
    networks.saved(networks.text(30_000), folder / "onnx/text_model.onnx")
    with pytest.raises(BadSource, match=r"has 30,000"):
        imported(folder)


def test_a_text_network_of_another_dimension_or_without_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = networks.two_towers(tmp_path / "clip", dimension=12)
    with pytest.raises(BadSource, match="texts as 12 numbers, and photos are embedded as 16"):
        imported(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(BadSource, match="without a tokenizer"):
        imported(folder)
