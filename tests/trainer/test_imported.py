"""Heads on the networks of imported bundles: `lookalike train --backbone bundle:DIR`."""

from dataclasses import replace
from pathlib import Path

import make
import networks
import numpy as np
import pytest
from commands import Command
from marks import slow

from retrieval.bundle import Bundle, load_bundle
from retrieval.embedder import Embedder
from retrieval.importing.importer import Options, import_network
from retrieval.index.vectors import to_unit_length
from retrieval.parts import LOOK, Parts
from retrieval.text_embedder import TextEmbedder
from trainer.backbones import backbone_named
from trainer.backbones.imported import imported_network
from trainer.export import check_parity, export_onnx
from trainer.network import EmbeddingNetwork, build_for
from trainer.onnx_layer import OnnxLayer
from trainer.recipes import DEFAULT, Head
from trainer.recipes.components import Look, MeanCentred
from trainer.recipes.recipe import AnyHead

PHOTOS = np.random.default_rng(0).integers(0, 256, (5, networks.SIZE, networks.SIZE, 3), dtype=np.uint8)


def imported(folder: Path, source: Path) -> Bundle:
    return import_network(str(source), folder / "imported", Options(), lambda _: None).bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The bundle of a network without text."""
    folder = tmp_path_factory.mktemp("imported")
    return imported(folder, networks.saved(networks.vision(opset=13), folder / "network.onnx"))


def with_head(bundle: Bundle, head: AnyHead, look: Look | None) -> EmbeddingNetwork:
    return build_for(replace(DEFAULT, learns="head", head=head, look=look, dimension=6), backbone_of(bundle), "auto")


def backbone_of(bundle: Bundle):
    return imported_network(bundle.folder)


@pytest.mark.parametrize(
    ("head", "look"),
    [
        (Head(hidden=7, relu=True), Look(weight=0.3)),
        slow(Head(), None),
        slow(MeanCentred(), Look(weight=0.3)),
    ],
)
def test_the_graph_with_a_head_embeds_as_keras_does(
    bundle: Bundle, head: AnyHead, look: Look | None, tmp_path: Path
) -> None:
    network = with_head(bundle, head, look)
    for variable in network.head.weights:
        variable.assign(np.random.default_rng(1).normal(size=variable.shape))
    export_onnx(network, tmp_path / "embedder.onnx")
    assert check_parity(network.whole(), tmp_path / "embedder.onnx", PHOTOS).min_cosine >= 0.9999


def test_the_embedding_of_the_bundle_is_the_part_look(bundle: Bundle, tmp_path: Path) -> None:
    network = with_head(bundle, Head(), Look(weight=0.3))
    assert [(part.name, part.length) for part in network.parts] == [("kind", 6), ("look", 16)]
    embeddings = network.whole()(PHOTOS).numpy()
    look = Parts(network.parts).one(embeddings, LOOK)
    np.testing.assert_allclose(look, Embedder(bundle, threads=1).embed(PHOTOS), atol=1e-5)
    features = network.features_only()(PHOTOS).numpy()
    np.testing.assert_allclose(to_unit_length(features), look, atol=1e-5)


def test_photos_are_prepared_as_the_bundle_says(bundle: Bundle) -> None:
    backbone = backbone_named(f"bundle:{bundle.folder}")
    rule = bundle.resize
    assert rule.interpolation == "bicubic" and rule.whole_pixels
    assert backbone.resize == rule
    assert DEFAULT.preparation.rule(rule) == DEFAULT.preparation.train_rule(rule) == rule


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--recipe", "new-classes"), "new-classes trains the layers of the network"),
        (("--recipe", "notebook-bit-frozen"), "notebook-bit-frozen changes the preparation of photos"),
        (("--recipe", "pretrained"), "pretrained trains nothing"),
        (("--set", "learns=upper"), "default trains the layers of the network"),
        (("--set", "preparation.size=64"), "default changes the preparation of photos"),
        (("--weights", "none"), "weights of a bundle can't be replaced"),
    ],
)
def test_what_needs_another_network_is_refused(
    lookalike: Command, bundle: Bundle, options: tuple[str, ...], complaint: str, tmp_path: Path
) -> None:
    words = ("train", "--data", "nowhere", "--out", "bundle", "--backbone", f"bundle:{bundle.folder}")
    run = lookalike(*words, *options, home=tmp_path)
    assert run.status == 1
    assert complaint in run.err
    assert "--recipe default" in run.err or "--weights" in run.err


@pytest.mark.parametrize(
    ("look", "complaint"), [(0, "has a trained head"), (4, "has a trained head"), (None, "is not a model bundle")]
)
def test_other_folders_are_refused(lookalike: Command, look: int | None, complaint: str, tmp_path: Path) -> None:
    if look is not None:
        make.bundle(tmp_path / "other", look=look)
    run = lookalike("train", "--data", "nowhere", "--out", "bundle", "--backbone", "bundle:other", home=tmp_path)
    assert run.status == 1
    assert complaint in run.err


@pytest.mark.slow
def test_a_head_is_trained_and_words_still_find_photos(
    lookalike: Command, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tokenizers")
    original = imported(tmp_path, networks.two_towers(tmp_path / "clip"))
    embedded: list[int] = []
    run_network = OnnxLayer._run

    def counted(self: OnnxLayer, images: np.ndarray) -> np.ndarray:
        embedded.append(len(images))
        return run_network(self, images)

    monkeypatch.setattr(OnnxLayer, "_run", counted)
    words = ("train", "--data", colours, "--out", "trained", "--backbone", "bundle:imported", "--set", "views=2")
    made = lookalike(*words, "--epochs", "2", "--set", "head_first.steps=5", "--json", home=tmp_path)
    assert made.status == 0, made.err
    bundle = load_bundle(tmp_path / "trained")
    manifest, before = bundle.manifest, original.manifest
    assert [(part.name, part.weight) for part in manifest.parts] == [("kind", 0.4), ("look", 0.6)]
    assert (manifest.backbone, manifest.recipe, manifest.resize) == (before.backbone, "default", before.resize)
    assert manifest.changed[0] == "learns=head"
    assert manifest.origin == before.origin and manifest.origin.licence == "apache-2.0"
    assert manifest.metrics.training.parameters > backbone_of(original).parameters
    counts = manifest.training_data.counts
    # Views and validation photos once each, and validation photos again for the check of the export.
    assert sum(embedded) == 2 * counts["train"] + 2 * counts["val"]

    look = Parts(manifest.parts).one(Embedder(bundle, threads=1).embed(PHOTOS), LOOK)
    np.testing.assert_allclose(look, Embedder(original, threads=1).embed(PHOTOS), atol=1e-5)
    texts = [TextEmbedder(of.tokenizer, of.text_network, threads=1).embed(["a red tulip"]) for of in (bundle, original)]
    np.testing.assert_array_equal(*texts)
    assert (bundle.folder / "training/report.html").exists()
    compared = lookalike("compare", "trained", "--json", home=tmp_path)
    assert compared.status == 0, compared.err
    (entry,) = compared.json["bundles"]
    assert entry["changed"][0] == "learns=head" and entry["recall_at_1"] is not None
