"""Jobs that make a model before they index: they run `lookalike train`, since only the trainer imports TensorFlow."""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from indexer.dependent import DEPENDENT
from indexer.jobs import IndexRequest, Job, JobRecord, TrainingOptions, start_record
from retrieval.bundle import Bundle, load_bundle
from retrieval.cancellation import CancellationToken
from retrieval.errors import BadSource, LookalikeError
from retrieval.settings import Settings

POLL_SECONDS = 0.25
BUNDLE = "bundle"  # in the folder of a job that trains, with its report
PROGRESS = "progress.json"  # in the folder of a job that trains


def can_train() -> bool:
    """Return whether TensorFlow is installed here."""
    return find_spec("tensorflow") is not None


def run_with_new_model(
    settings: Settings,
    request: IndexRequest,
    on_progress: Callable[[Job], None],
    make: Callable[[JobRecord], Bundle | None],
    use: Callable[[IndexRequest, Bundle, JobRecord], object],
) -> None:
    """Record a job that makes a model, and continues with it.

    Args:
        on_progress: called with the job at its start.
        make: returns the bundle of the model; None if cancelled.
        use: called with a request that names the bundle; ends the job.

    Raises:
        LookalikeError: the job failed; its record has the reason.
    """
    record = start_record(settings, request, model="")
    with record.ended_by_errors():
        on_progress(record.job)
        bundle = make(record)
        if bundle is None:
            record.end(record.stopped_state())
        else:
            use(replace(request, bundle=bundle.folder), bundle, record)


def train_on_index(
    settings: Settings,
    training: TrainingOptions,
    folder: Path,
    cancellation: CancellationToken,
    on_message: Callable[[str], None],
) -> Bundle | None:
    """Train on the photos of the index, like `train`; bundle and progress are written to the folder of a job."""
    options = [*_options(training), f"--progress={folder / PROGRESS}"]
    return train(settings, options, folder / BUNDLE, cancellation, on_message)


def train(
    settings: Settings,
    options: Sequence[str],
    target: Path,
    cancellation: CancellationToken,
    on_message: Callable[[str], None],
) -> Bundle | None:
    """Run `lookalike train` in a process; return its bundle, or None if it was cancelled, which ends the process.

    The process also ends if this one is killed.

    Args:
        options: of the command.
        target: the folder of the bundle.
        on_message: called several times a second with the last message of the process; "" before the first.

    Raises:
        LookalikeError: the training failed; the message is that of the command.
    """
    command = [*DEPENDENT, "lookalike", "train", *options, f"--out={target}", "--json"]
    with tempfile.TemporaryFile() as result, tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            command,
            env=os.environ | {"LOOKALIKE_HOME": str(settings.home)},
            stdin=subprocess.PIPE,
            stdout=result,
            stderr=messages,
            start_new_session=True,  # Ctrl-C stops what started it, which decides
        )
        with process:
            try:
                while _is_running(process):
                    if cancellation.cancelled:
                        return None
                    on_message(_last_line(messages))
            finally:
                process.kill()
        if process.returncode:
            raise _failure(result, process.returncode, _last_line(messages))
    return load_bundle(target)


def _options(training: TrainingOptions) -> list[str]:
    """The options of `lookalike train`."""
    backbone = [f"--backbone={training.backbone}"] if training.backbone else []
    epochs = [f"--epochs={training.epochs}"] if training.epochs else []
    changes = [f"--set={change}" for change in training.changes]
    return ["--data=index:", f"--recipe={training.recipe}", f"--seed={training.seed}", *backbone, *epochs, *changes]


def _is_running(process: "subprocess.Popen[bytes]") -> bool:
    """Wait a moment for the end of a process; return whether it still runs."""
    try:
        process.wait(POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _last_line(file: IO[bytes]) -> str:
    file.seek(0)
    lines = file.read().decode(errors="replace").split("\n")[:-1]
    return next((line.strip() for line in reversed(lines) if line.strip()), "")


def _failure(result: IO[bytes], status: int, last: str) -> LookalikeError:
    """The error that the command printed; if it did not, its exit status and last message."""
    result.seek(0)
    try:
        said = json.load(result)
        return BadSource(f"No model could be made. {said['error']}", said.get("remedy") or "")
    except (ValueError, KeyError, TypeError):
        return LookalikeError(
            f"No model could be made: the process ended early (status {status}).",
            f"Its last message: {last}" if last else "Check the free memory.",
        )
