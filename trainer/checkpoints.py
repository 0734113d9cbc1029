"""What an unfinished training leaves, so that it can go on."""

import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from retrieval.errors import LookalikeError
from retrieval.files import write_atomically
from retrieval.photo_ref import display
from trainer.data import Say

Weights = list[npt.NDArray[Any]]
Fields = dict[str, Any]

STATE = "state.json"
DAMAGED = (OSError, EOFError, ValueError, KeyError, AssertionError, BadZipFile, tf.errors.OpError)


@dataclass(frozen=True)
class Found:
    """What an earlier training left.

    Attributes:
        epochs: the fields of each that was done.
        kept: the weights of the one that is kept so far.
    """

    epochs: list[Fields]
    kept: Weights


class Checkpoints:
    """The last epoch of one training, in a folder of its own: the new one is there whole, or the one before still is.

    Args:
        folder: where; it is made when it is needed.
        say: is told where the disk refuses; training goes on without.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder, self._say = folder, say

    def save(self, state: tf.train.Checkpoint, epochs: Sequence[Fields], kept: Weights, kept_epoch: int) -> None:
        """Keep an epoch that is done, in place of the one before."""
        names = {"state": f"epoch-{epochs[-1]['number']}", "kept": f"kept-{kept_epoch}.npz"}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            state.write(str(self._folder / names["state"]))
            if not (self._folder / names["kept"]).exists():
                write_atomically(self._folder / names["kept"], _packed(kept))
            write_atomically(self._folder / STATE, json.dumps({"epochs": list(epochs), **names}))
            self._clear_away_all_but(names)
        except (OSError, tf.errors.OpError) as error:
            reason = error.strerror if isinstance(error, OSError) else "its file can't be written"
            self._say(f"Epoch {epochs[-1]['number']} could not be kept for --resume ({reason}).")

    @property
    def exist(self) -> bool:
        """Whether an epoch was kept."""
        return (self._folder / STATE).exists()

    def restore(self, state: tf.train.Checkpoint) -> Found:
        """Take up the last epoch that was kept; raises `LookalikeError` where it is damaged."""
        try:
            found = json.loads((self._folder / STATE).read_bytes())
            state.read(str(self._folder / found["state"])).assert_existing_objects_matched()
            with np.load(self._folder / found["kept"]) as kept:
                return Found(found["epochs"], [kept[name] for name in kept.files])
        except DAMAGED:
            raise LookalikeError(
                f"The unfinished training in {display(self._folder)} is damaged.", "Leave --resume away to start again."
            ) from None

    def _clear_away_all_but(self, names: Mapping[str, str]) -> None:
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith((STATE, f"{names['state']}.", names["kept"])):
                path.unlink()


def _packed(weights: Weights) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *weights)
    return buffer.getvalue()


class WorkFolder:
    """Where a training keeps what it has until its bundle is written: beside the bundle, `<bundle>.unfinished`.

    Within a `with` statement it is there; after it, only where the training was cut short and something is worth
    keeping.

    Args:
        out: where the bundle shall be.
        plan: what is trained, on what: only the same can be resumed.
        say: takes what the user should know.
        resume: whether to take up what an earlier training left, or to clear it away.
    """

    def __init__(self, out: Path, plan: Mapping[str, Any], say: Say, resume: bool) -> None:
        self._path = out.with_name(f"{out.name}.unfinished")
        self._plan, self._say, self._resume = dict(plan), say, resume

    def __enter__(self) -> Path:
        """Raises `LookalikeError` where it shall be resumed and had another plan, or can't be written."""
        try:
            if self._path.exists() and self._resume:
                self._check(json.loads((self._path / STATE).read_bytes()))
                return self._path
            if self._path.exists():
                self._say(
                    f"The unfinished training in {display(self._path)} is given up; --resume would go on with it."
                )
                shutil.rmtree(self._path)
            elif self._resume:
                self._say("There is no unfinished training to resume: this one begins at the beginning.")
            self._path.mkdir(parents=True)
            write_atomically(self._path / STATE, json.dumps(self._plan))
        except (OSError, ValueError) as error:
            raise LookalikeError(
                f"The folder {display(self._path)} can't be used ({error}).", "Make room, or remove it."
            ) from None
        return self._path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raises `LookalikeError` where a file could not be read or written within, as on a full disk."""
        worth_keeping = any(self._path.glob(f"*/*/{STATE}")) or any(self._path.glob("*/*.onnx"))
        if error is None or not worth_keeping:
            shutil.rmtree(self._path, ignore_errors=True)
        else:
            self._say(f"What it has learnt is kept in {display(self._path)}: the same command with --resume goes on.")
        if isinstance(error, OSError):
            raise LookalikeError(
                f"The training could not be finished ({error}).", "Make room on the disk, and run it again."
            ) from error

    def _check(self, before: Mapping[str, Any]) -> None:
        for name in self._plan:
            if before.get(name) != self._plan[name]:
                raise LookalikeError(
                    f"The unfinished training in {display(self._path)} had another {name}.",
                    "Give it what it began with, or leave --resume away to start again.",
                )
