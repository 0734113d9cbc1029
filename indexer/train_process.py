"""`lookalike train` as a separate process, since only the trainer imports TensorFlow."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO

from retrieval.bundle import Bundle, load_bundle
from retrieval.cancellation import CancellationToken
from retrieval.errors import BadSource, LookalikeError
from retrieval.settings import Settings

POLL_SECONDS = 0.25


def can_train() -> bool:
    """Return whether TensorFlow is installed here."""
    return find_spec("tensorflow") is not None


def train(
    settings: Settings,
    options: Sequence[str],
    target: Path,
    cancellation: CancellationToken,
    on_message: Callable[[str], None],
) -> Bundle | None:
    """Run `lookalike train` in a process; return its bundle, or None if it was cancelled, which ends the process.

    Args:
        options: of the command.
        target: the folder of the bundle.
        on_message: called several times a second with the last message of the process; "" before the first.

    Raises:
        LookalikeError: the training failed; the message is that of the command.
    """
    command = [sys.executable, "-m", "lookalike", "train", *options, f"--out={target}", "--json"]
    with tempfile.TemporaryFile() as result, tempfile.TemporaryFile() as messages:
        process = subprocess.Popen(
            command,
            env=os.environ | {"LOOKALIKE_HOME": str(settings.home)},
            stdin=subprocess.DEVNULL,
            stdout=result,
            stderr=messages,
        )
        try:
            while _is_running(process):
                if cancellation.cancelled:
                    return None
                on_message(_last_line(messages))
        finally:
            process.kill()
            process.wait()
        if process.returncode:
            raise _failure(result)
    return load_bundle(target)


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
