"""The first model of a home, made of the installed network with pretrained weights, and the first job with it."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from indexer.jobs import IndexRequest, Job, JobRecord, start_record
from indexer.runner import run_job
from retrieval.bundle import Bundle, load_bundle
from retrieval.cancellation import CancellationToken
from retrieval.decoder import PhotoDecoder
from retrieval.errors import BadSource, LookalikeError
from retrieval.index import IndexStore
from retrieval.settings import Settings

FOLDER = "pretrained"  # in the home: the bundle, with its report
POLL_SECONDS = 0.25
RECIPE = "pretrained"
PREPARING = "Making a model of the installed network …"


def can_make_model(settings: Settings) -> bool:
    """Return whether a model can be made here: TensorFlow is installed, and no setting names another one."""
    return settings.bundle is None and find_spec("tensorflow") is not None


def needs_model(settings: Settings, store: IndexStore) -> bool:
    """Return whether there is neither a current model nor one that a setting names."""
    return settings.bundle is None and store.current() is None


def run_first_job(
    settings: Settings,
    store: IndexStore,
    request: IndexRequest,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
    *,
    decoder: PhotoDecoder | None = None,
) -> None:
    """Make a model with the photos of a job, then run the job with it, like `indexer.runner.run_job`.

    If there is a current model, the job uses that one.

    Raises:
        LookalikeError: no model can be made here, and no job is recorded; or the job failed, and its record has the
            reason.
    """
    if not needs_model(settings, store):
        run_job(settings, store, request, cancellation, on_progress, decoder=decoder)
        return
    if not can_make_model(settings):
        raise LookalikeError(
            "A model can't be made here, since TensorFlow is not installed.",
            "Install a bundle that was made on another machine, or run `pip install 'lookalike[train]'`.",
        )
    record = start_record(settings, request, model="")
    with record.ended_by_errors():
        on_progress(record.job)
        bundle = _make_model(settings, request, record, cancellation, on_progress)
        if bundle is None:
            record.end(record.stopped_state())
        else:
            request = replace(request, bundle=bundle.folder)
            run_job(settings, store, request, cancellation, on_progress, decoder=decoder, record=record)


def _make_model(
    settings: Settings,
    request: IndexRequest,
    record: JobRecord,
    cancellation: CancellationToken,
    on_progress: Callable[[Job], None],
) -> Bundle | None:
    """Run `lookalike train` with the recipe `pretrained` in a process; return its bundle, or None if cancelled."""
    stopping, target = record.cancellation(cancellation), settings.home / FOLDER
    with tempfile.TemporaryFile() as result, tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            _command(request, target),
            env=os.environ | {"LOOKALIKE_HOME": str(settings.home)},
            stdin=subprocess.DEVNULL,
            stdout=result,
            stderr=messages,
        )
        try:
            while _is_running(process):
                if stopping.cancelled:
                    return None
                record.set_step(_last_line(messages) or PREPARING)
                on_progress(record.job)
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            raise _failure(result)
    return load_bundle(target)


def _command(request: IndexRequest, target: Path) -> list[str]:
    """The command that makes the model of the first source; labels are not needed, and would take longer."""
    hidden = ["--include-hidden"] if request.include_hidden else []
    options = [*hidden, *(f"--exclude={pattern}" for pattern in request.exclude)]
    made = ["--data", request.sources[0], "--recipe", RECIPE, "--label-from", "none", "--out", str(target)]
    return [sys.executable, "-m", "lookalike", "train", *made, *options, "--json"]


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


def _failure(result: IO[bytes]) -> LookalikeError:
    """The error that the command printed."""
    result.seek(0)
    try:
        said = json.load(result)
        return BadSource(f"No model could be made. {said['error']}", said.get("remedy") or "")
    except (ValueError, KeyError, TypeError):
        return LookalikeError("No model could be made: the process ended early.", "See the log of the server.")
