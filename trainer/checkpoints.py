"""Checkpoints, from which an unfinished training can be resumed."""

import io
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
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


class SavedProgress(NamedTuple):
    """The fields of each completed epoch, and the weights that are kept so far."""

    epochs: list[Fields]
    kept: Weights


class Checkpoints:
    """Saves the state of a training after each epoch; a new checkpoint replaces the last one atomically.

    If one can't be saved, `say` receives a message, and training continues without it.
    """

    def __init__(self, folder: Path, say: Say) -> None:
        self._folder, self._say = folder, say

    def save(self, state: tf.train.Checkpoint, epochs: Sequence[Fields], kept: Weights, kept_epoch: int) -> None:
        """Save the state after an epoch, and the weights that are kept so far, which are those of `kept_epoch`."""
        names = {"state": f"epoch-{epochs[-1]['number']}", "kept": f"kept-{kept_epoch}.npz"}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            state.write(str(self._folder / names["state"]))
            if not (self._folder / names["kept"]).exists():
                write_atomically(self._folder / names["kept"], _packed(kept))
            write_atomically(self._folder / STATE, json.dumps({"epochs": list(epochs), **names}))
            self._delete_all_but(names)
        except (OSError, tf.errors.OpError) as error:
            reason = error.strerror if isinstance(error, OSError) else "the file can't be written"
            self._say(f"Epoch {epochs[-1]['number']} could not be saved for --resume ({reason}).")

    @property
    def exist(self) -> bool:
        """Whether a checkpoint exists."""
        return (self._folder / STATE).exists()

    def restore(self, state: tf.train.Checkpoint) -> SavedProgress:
        """Restore the state after the last saved epoch; raise `LookalikeError` if the checkpoint is damaged."""
        try:
            found = json.loads((self._folder / STATE).read_bytes())
            state.read(str(self._folder / found["state"])).assert_existing_objects_matched()
            with np.load(self._folder / found["kept"]) as kept:
                return SavedProgress(found["epochs"], [kept[name] for name in kept.files])
        except DAMAGED:
            raise LookalikeError(
                f"The unfinished training in {display(self._folder)} is damaged.", "Omit --resume to start again."
            ) from None

    def _delete_all_but(self, names: Mapping[str, str]) -> None:
        for path in self._folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif not path.name.startswith((STATE, f"{names['state']}.", names["kept"])):
                path.unlink()


def _packed(weights: Weights) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, *weights)
    return buffer.getvalue()


@contextmanager
def work_folder(out: Path, plan: Mapping[str, Any], say: Say, resume: bool) -> Iterator[Path]:
    """Within the context, provide the folder `<bundle>.unfinished` for the files of a training.

    Afterwards the folder is deleted, unless the training failed or was interrupted and can be resumed.

    Args:
        out: folder of the future bundle.
        plan: settings and data of the training, which must be equal to resume it.
        resume: whether to resume an unfinished training or to delete it.

    Raises:
        LookalikeError: the training to resume had another plan, or the folder is not writable, such as on a full disk.
    """
    folder = out.with_name(f"{out.name}.unfinished")
    try:
        _prepare(folder, dict(plan), say, resume)
    except (OSError, ValueError) as error:
        raise LookalikeError(
            f"The folder {display(folder)} can't be used ({error}).", "Free disk space, or remove the folder."
        ) from None
    try:
        yield folder
    except BaseException as error:
        if any(folder.glob(f"*/*/{STATE}")) or any(folder.glob("*/*.onnx")):
            say(f"The progress is saved in {display(folder)}; repeat the command with --resume to continue.")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise LookalikeError(
                f"The training could not be finished ({error}).", "Free disk space, and run the command again."
            ) from error
        raise
    shutil.rmtree(folder, ignore_errors=True)


def _prepare(folder: Path, plan: dict[str, Any], say: Say, resume: bool) -> None:
    """Check that the training in the folder can be resumed, or create the folder."""
    if resume and folder.exists():
        before = json.loads((folder / STATE).read_bytes())
        if other := [name for name in plan if before.get(name) != plan[name]]:
            raise LookalikeError(
                f"The unfinished training in {display(folder)} had another {other[0]}.",
                "Repeat the original command, or omit --resume to start again.",
            )
        return
    if folder.exists():
        say(f"The unfinished training in {display(folder)} is deleted; --resume would have continued it.")
        shutil.rmtree(folder)
    elif resume:
        say("There is no unfinished training to resume; starting a new one.")
    folder.mkdir(parents=True)
    write_atomically(folder / STATE, json.dumps(plan))
