from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from commands import Command
from exported import LABELS, Export, export, pictures

from retrieval.analysis.evaluation import evaluate_embeddings
from retrieval.bundle import load_bundle
from retrieval.bundle_format import Manifest, Parity, Part
from retrieval.embedder import Embedder
from trainer.data import LabelledImages
from trainer.export import run_onnx
from trainer.quantization import LARGEST_LOSS, quantize_onnx, quantized
from trainer.runs import ONNX, Run, TrainingRecord
from trainer.training import Epoch

TRAIN, VAL, TEST = pictures(1), pictures(2), pictures(3)
HELD_OUT = {"val": LabelledImages(VAL, LABELS), "test": LabelledImages(TEST, LABELS)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a float32 network."""
    made = tmp_path_factory.mktemp("quantization")
    export("small_cnn", made)
    return made


def run_of(folder: Path, photos: dict[str, LabelledImages]) -> Run:
    """A training that came to the network in a folder."""
    embeddings = {split: run_onnx(folder / ONNX, of_split.images) for split, of_split in photos.items()}
    evaluations = {split: evaluate_embeddings(embeddings[split], photos[split].labels) for split in photos}
    epoch = Epoch(1, 0.5, 0.6, 0.7, 0.7, 10.0)
    parity = Parity(photos=len(VAL), min_cosine=1, max_difference=0)
    record = TrainingRecord(
        epochs=[epoch], interrupted=False, parameters=1000, parity=parity, parts=[Part(name="kind", length=8, weight=1)]
    )
    return Run(0, folder, record, epoch, embeddings, evaluations)


WITH_GATES, WITH_GROUPS = "keras:EfficientNetV2B0", "keras:RegNetX002"


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory, exported_backbone: Export) -> Callable[[str], tuple[Path, Path]]:
    """Return the network of a backbone before and after quantization; each is made once."""

    @cache
    def networks_of(name: str) -> tuple[Path, Path]:
        before, after = exported_backbone(name).network, tmp_path_factory.mktemp("networks") / "int8.onnx"
        quantize_onnx(before, after, TRAIN, float32_at_first=2)
        return before, after

    return networks_of


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v2", WITH_GATES, WITH_GROUPS])
def test_the_quantized_network_takes_and_gives_the_same(
    name: str, networks: Callable[[str], tuple[Path, Path]]
) -> None:
    before, after = networks(name)
    assert signature(after) == signature(before)
    session = onnxruntime.InferenceSession(after)
    assert session.run(["regions"], {"images": VAL})[0].size == 0, "nobody has asked"
    embeddings, regions = session.run(["embeddings", "regions"], {"images": VAL, "explain": np.array(True)})
    np.testing.assert_allclose(regions.sum(axis=(1, 2)), embeddings, atol=1e-5)
    exact = run_onnx(after, VAL)  # unlike that session, on a processor without VNNI
    np.testing.assert_allclose(run_onnx(after, VAL[:1]), exact[:1], atol=1e-5)  # a batch of another size
    assert (exact * run_onnx(before, VAL)).sum(axis=1).mean() > 0.5  # untrained weights; unrelated networks: 0
    assert after.stat().st_size < 0.6 * before.stat().st_size


def signature(path: Path) -> list[tuple[str, str, Sequence[object]]]:
    session = onnxruntime.InferenceSession(path)
    entries = [*session.get_inputs(), *session.get_overridable_initializers(), *session.get_outputs()]
    return [(entry.name, entry.type, entry.shape[1:]) for entry in entries]


@pytest.mark.slow
def test_the_first_and_last_convolutions_stay_float32(networks: Callable[[str], tuple[Path, Path]]) -> None:
    graph = onnx.load(networks("mobilenet_v2")[1]).graph
    floats = {tensor.name for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    kept = [number for number, node in enumerate(convolutions) if node.input[1] in floats]
    assert kept == [0, 1, 51]
    assert len(convolutions) == 52


def test_a_network_that_finds_as_well_is_accepted_with_its_own_metrics(folder: Path) -> None:
    run, said = run_of(folder, HELD_OUT), list[str]()
    kept, record = quantized(run, HELD_OUT, TRAIN, said.append)
    assert record.accepted
    assert kept.precision == "int8"
    assert kept.network != run.network
    np.testing.assert_array_equal(kept.embeddings["val"], run_onnx(kept.network, VAL))
    cosines = (kept.embeddings["val"] * run.embeddings["val"]).sum(axis=1)
    assert (record.cosine.mean, record.cosine.min) == pytest.approx((cosines.mean(), cosines.min()))
    for split in ("val", "test"):
        before, after = record.float32.of(split), record.int8.of(split)
        assert before.model_dump() == run.evaluations[split].overall
        assert after.model_dump() == evaluate_embeddings(kept.embeddings[split], LABELS).overall
        assert after.map_at_r >= before.map_at_r - LARGEST_LOSS
        assert f"{before.map_at_r:.4f} → {after.map_at_r:.4f} on the {split} photos" in said[0]


def test_a_network_that_finds_less_well_is_refused_with_the_metrics_of_both(folder: Path) -> None:
    colours = np.broadcast_to(127 + np.eye(3).repeat(6, 0)[:, None, None], VAL.shape).astype(np.uint8)
    faint = {split: LabelledImages(colours, LABELS) for split in HELD_OUT}  # 8 bits for bright colours don't show them
    run, said = run_of(folder, faint), list[str]()
    kept, record = quantized(run, faint, TRAIN, said.append)
    assert kept is run
    assert not record.accepted
    assert record.int8.val.map_at_r < record.float32.val.map_at_r - LARGEST_LOSS
    assert said[0].startswith("The int8 network loses more than 0.005 of MAP@R (")
    assert said[0].endswith("the bundle has the float32 one.")


def test_the_test_photos_refuse_nothing(folder: Path) -> None:
    colours = np.broadcast_to(127 + np.eye(3).repeat(6, 0)[:, None, None], VAL.shape).astype(np.uint8)
    photos = HELD_OUT | {"test": LabelledImages(colours, LABELS)}  # 8 bits for bright colours don't show them
    kept, record = quantized(run_of(folder, photos), photos, TRAIN, list[str]().append)
    assert record.accepted
    assert kept.precision == "int8"
    assert record.int8.test.map_at_r < record.float32.test.map_at_r - LARGEST_LOSS


def test_a_network_that_cannot_be_quantized_stays_as_it_is(folder: Path, tmp_path: Path) -> None:
    (tmp_path / ONNX).write_text("Dear photo")
    unreadable, said = replace(run_of(folder, HELD_OUT), folder=tmp_path), list[str]()
    kept, record = quantized(unreadable, HELD_OUT, TRAIN, said.append)
    assert kept is unreadable
    assert record.reason in said[0]
    assert "can't be quantized" in said[0]


@pytest.mark.slow
def test_training_says_and_keeps_which_precision_the_bundle_has(
    lookalike: Command, colours: Path, tmp_path: Path
) -> None:
    options = ("--backbone", "small_cnn", "--epochs", "1", "--dimension", "8", "--set", "steps_per_epoch=5")
    options += ("--quantize", "int8", "--json")
    told = lookalike("train", "--data", colours, "--out", "bundle", *options, home=tmp_path)
    assert told.status == 0, told.err
    bundle, record = load_bundle(tmp_path / "bundle"), told.json["metrics"]["quantization"]
    assert record["calibration_photos"] == 19
    assert bundle.manifest.precision == ("int8" if record["accepted"] else "float32")
    shown = record[bundle.manifest.precision]["test"]["map_at_r"]
    assert bundle.manifest.metrics.test.map_at_r == shown
    reported = f"{shown:.4f} on the test photos" if record["accepted"] else "the bundle holds the float32 one"
    assert reported in told.err
    assert Embedder(bundle, threads=1).has_regions
    old = bundle.manifest.model_dump(exclude={"precision"})
    assert Manifest.model_validate(old).precision == "float32", "before there was a choice"


def test_another_precision_is_wrong_usage(lookalike: Command, tmp_path: Path) -> None:
    told = lookalike("train", "--data", "digits", "--out", "bundle", "--quantize", "int4", home=tmp_path)
    assert told.status == 2
    assert "int8" in told.err
