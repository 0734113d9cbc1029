"""Resuming trainings."""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import make
import numpy as np
import pytest
import tensorflow as tf
from commands import Command
from marks import slow
from once import once

from retrieval.bundle import load_bundle
from retrieval.errors import LookalikeError
from trainer.backbones import BACKBONES
from trainer.backbones.base import Backbone
from trainer.checkpoints import Checkpoints, work_folder
from trainer.data import LabelledImages
from trainer.network import build_for, embed
from trainer.recipes import RECIPES
from trainer.recipes.overrides import override
from trainer.training import Epoch, train_network

ROOT = Path(__file__).resolve().parents[2]
TRAIN = ("train", "--data", "colours", "--out", "bundle", "--backbone", "small_cnn", "--epochs", "4")
SLOWLY = ("--set", "sampling.batch_size=24", "--set", "steps_per_epoch=6", "--set", "stopping.patience=none")


@pytest.fixture(scope="session")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, float]]]:
    """A home with a training that was killed after an epoch or two of four, and its finished epochs."""
    home = once(tmp_path_factory, "killed", _train_and_kill)
    return home, json.loads(_state(home).read_bytes())["epochs"]


def _train_and_kill(home: Path) -> None:
    make.library(home / "colours", per_label=12)
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(home), "LOOKALIKE_HOME": str(home), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "lookalike", *TRAIN, *SLOWLY]
    process = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _state(home).exists():
            assert process.poll() is None, "the training ended before it was killed"
            time.sleep(0.02)
    finally:
        process.kill()
        process.wait()
    assert not (home / "bundle").exists()


def _state(home: Path) -> Path:
    return home / "bundle.unfinished" / "seed-0" / "checkpoints" / "state.json"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--set", "loss.margin=0.3"), "had another recipe"),
        (("--seed", "1"), "had another data"),
    ],
)
def test_a_training_with_other_settings_is_not_resumed(
    killed: tuple[Path, list[dict[str, float]]], lookalike: Command, options: tuple[str, ...], complaint: str
) -> None:
    run = lookalike(*TRAIN, *SLOWLY, *options, "--resume", home=killed[0])
    assert run.status == 1
    assert complaint in run.err
    assert "omit --resume" in run.err
    assert (killed[0] / "bundle.unfinished").exists()
    assert not (killed[0] / "bundle").exists()


@pytest.mark.slow
def test_a_killed_training_is_resumed_after_its_last_epoch(
    killed: tuple[Path, list[dict[str, float]]], lookalike: Command, tmp_path: Path
) -> None:
    home, before = Path(shutil.copytree(killed[0], tmp_path / "home")), killed[1]
    run = lookalike(*TRAIN, *SLOWLY, "--resume", home=home)
    assert run.status == 0, run.err
    assert f"Resuming the unfinished training after epoch {before[-1]['number']}" in run.err
    with (home / "bundle" / "training" / "history.csv").open() as file:
        history = [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]
    assert [row["number"] for row in history] == [1, 2, 3, 4]
    assert history[: len(before)] == before
    assert history[3]["seconds"] > before[-1]["seconds"]
    assert load_bundle(home / "bundle").manifest.metrics.training.epochs == 4
    assert not (home / "bundle.unfinished").exists()


class Watched:
    def __init__(self) -> None:
        self.losses: list[float] = []
        self.resumed_after: int | None = None

    def on_resume(self, epoch: Epoch) -> None:
        self.resumed_after = epoch.number

    def on_step(self, loss: float) -> None:
        self.losses.append(loss)

    def on_epoch(self, epoch: Epoch) -> None:
        self._last = epoch.number

    def on_interruption(self) -> None:
        raise AssertionError("nobody interrupts here")

    def on_divergence(self, why: str) -> None:
        raise AssertionError(why)


class Copying(Watched):
    """Copies the checkpoints after a step, as a process that is killed then leaves them."""

    def __init__(self, step: int, folder: Path, copy: Path) -> None:
        super().__init__()
        self._step, self._folder, self._copy = step, folder, copy

    def on_step(self, loss: float) -> None:
        super().on_step(loss)
        if len(self.losses) == self._step:
            shutil.copytree(self._folder, self._copy)


FROM_SCRATCH = BACKBONES["small_cnn"]
PRETRAINED = replace(FROM_SCRATCH, has_weights=True)  # as if its initial weights were pretrained
FROZEN = replace(PRETRAINED, fine_tune_from="pool1")


@pytest.mark.parametrize(
    ("backbone", "augmentation", "rounds", "head"),
    [
        slow(FROM_SCRATCH, "unchanged", 1, "head"),
        slow(PRETRAINED, "unchanged", 3, "head"),
        slow(FROZEN, "random-views", 2, "centred"),
    ],
)
def test_but_for_dropout_a_resumed_training_equals_an_uninterrupted_one(
    backbone: Backbone, augmentation: str, rounds: int, head: str, tmp_path: Path
) -> None:
    """Also with random views, if their activations are cached: a resumed training draws the same ones again."""
    changes = [
        f"augmentation={augmentation}",
        f"head={head}",
        "head.dropout=0",
        "epochs=3",
        "steps_per_epoch=4",
        "dimension=8",
    ]
    changes += ["sampling.batch_size=12", "head_first.steps=5", "views=3", f"rounds={rounds}"]
    changes += ["preparation.size=16", "preparation.train_size=16"]
    recipe = override(RECIPES["default"], changes)
    labels = np.repeat(["a", "b", "c"], 6)
    noise = np.random.default_rng(0).integers(0, 100, (18, 16, 16, 3))
    photos = LabelledImages((noise + 70 * np.repeat([0, 1, 2], 6)[:, None, None, None]).astype(np.uint8), labels)

    def train(watched: Watched, folder: Path) -> tuple[list[Epoch], np.ndarray]:
        tf.keras.utils.set_random_seed(0)
        network = build_for(recipe, backbone, "auto")
        assert (network.frozen is not None) == (backbone is FROZEN)
        epochs = train_network(
            network,
            recipe,
            train=photos,
            val=photos,
            seed=0,
            callbacks=[watched],
            checkpoints=Checkpoints(folder, print),
        )
        return epochs, embed(network.kind(), photos.images)

    of_head = 5 * backbone.has_weights
    whole, resumed = Copying(6 + of_head, tmp_path / "whole", tmp_path / "cut"), Watched()
    epochs, embeddings = train(whole, tmp_path / "whole")
    epochs_again, embeddings_again = train(resumed, tmp_path / "cut")
    assert resumed.resumed_after == 1
    assert resumed.losses == pytest.approx(whole.losses[4 + of_head :], rel=1e-3)
    assert [epoch.number for epoch in epochs_again] == [epoch.number for epoch in epochs]
    assert [epoch.map_at_r for epoch in epochs_again] == pytest.approx([epoch.map_at_r for epoch in epochs], abs=1e-3)
    assert embeddings_again == pytest.approx(embeddings, abs=1e-2)


def test_a_damaged_checkpoint_is_reported(tmp_path: Path) -> None:
    variable = tf.train.Checkpoint(value=tf.Variable([1.0, 2.0]))
    checkpoints = Checkpoints(tmp_path, print)
    checkpoints.save(variable, [{"number": 1}], [np.zeros(3)], kept_epoch=1)
    assert checkpoints.restore(variable).epochs == [{"number": 1}]
    whole = (tmp_path / "kept-1.npz").read_bytes()
    for damaged in (b"no weights", b"", whole[: len(whole) // 2]):
        (tmp_path / "kept-1.npz").write_bytes(damaged)
        with pytest.raises(LookalikeError, match="is damaged"):
            checkpoints.restore(variable)


def test_only_the_last_epoch_and_the_kept_one_stay(tmp_path: Path) -> None:
    variable = tf.train.Checkpoint(value=tf.Variable([1.0, 2.0]))
    checkpoints = Checkpoints(tmp_path, print)
    for number, kept in ((9, 9), (10, 10), (11, 10)):
        checkpoints.save(variable, [{"number": number}], [np.full(3, number)], kept)
    assert {path.name.partition(".")[0] for path in tmp_path.iterdir()} == {"state", "epoch-11", "kept-10"}
    assert checkpoints.restore(variable).kept[0].tolist() == [10, 10, 10]


def test_a_checkpoint_that_cannot_be_written_does_not_stop_training(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    checkpoints = Checkpoints(tmp_path / "file" / "below", said.append)
    checkpoints.save(tf.train.Checkpoint(), [{"number": 3}], [], kept_epoch=3)
    assert "Epoch 3 could not be saved for --resume" in said[0]


def test_a_work_folder_is_kept_only_if_the_training_can_be_resumed(tmp_path: Path) -> None:
    said: list[str] = []

    def cut_short(after_an_epoch: bool, resume: bool = False) -> Path:
        with (
            pytest.raises(KeyboardInterrupt),
            work_folder(tmp_path / "bundle", {"seed": 1}, said.append, resume) as folder,
        ):
            if after_an_epoch:
                Checkpoints(folder / "seed-1" / "checkpoints", print).save(
                    tf.train.Checkpoint(), [{"number": 1}], [], 1
                )
            raise KeyboardInterrupt
        return folder

    assert not cut_short(after_an_epoch=False).exists()
    assert not said
    kept = cut_short(after_an_epoch=True)
    assert kept.exists()
    assert "with --resume to continue" in said.pop()
    with work_folder(tmp_path / "bundle", {"seed": 1}, said.append, resume=True) as folder:
        assert (folder / "seed-1").exists()
    assert not kept.exists()
    cut_short(after_an_epoch=True)
    said.clear()
    with work_folder(tmp_path / "bundle", {"seed": 1}, said.append, resume=False) as folder:
        assert "is deleted" in said.pop()
        assert not (folder / "seed-1").exists()


def test_a_full_disk_is_reported_and_the_checkpoint_is_kept(tmp_path: Path) -> None:
    said: list[str] = []
    with (
        pytest.raises(LookalikeError, match=r"could not be finished .*No space left") as raised,
        work_folder(tmp_path / "bundle", {"seed": 1}, said.append, resume=False) as folder,
    ):
        Checkpoints(folder / "seed-1" / "checkpoints", print).save(tf.train.Checkpoint(), [{"number": 1}], [], 1)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "embedder.onnx"))
    assert "Free disk space" in raised.value.remedy
    assert "with --resume to continue" in said.pop()
    assert folder.exists()
    assert not (tmp_path / "bundle").exists()
