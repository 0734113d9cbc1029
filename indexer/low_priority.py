"""Long computations in a process of low priority, so that searches in this process stay fast."""

import os
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from retrieval.cancellation import CancellationToken
from retrieval.errors import LookalikeError

POLL_SECONDS = 0.5
NICENESS = 10  # at 19, a process hardly runs beside others that are busy
Result = TypeVar("Result")


def compute(
    what: str, cancellation: CancellationToken, function: Callable[..., Result], *arguments: object
) -> Result | None:
    """Call a function of a module in another process; cancelling kills it.

    Args:
        what: what the process computes, for the message if it is killed: "the map".
        cancellation: checked while the function runs.
        function: its arguments and its result are pickled.
        arguments: of the function.

    Returns:
        What the function returns; None if cancelled.

    Raises:
        LookalikeError: the process ended without a result.
    """
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(theirs, function, arguments), daemon=True)
    process.start()
    theirs.close()
    try:
        while not ours.poll(POLL_SECONDS):
            if cancellation.cancelled:
                return None
        result: Result = ours.recv()
    except EOFError:
        raise LookalikeError(f"The process that computes {what} was killed, most likely for lack of memory.") from None
    else:
        return result
    finally:
        process.kill()
        process.join()


def _work(results: "Connection[Any, Any]", function: Callable[..., object], arguments: tuple[object, ...]) -> None:
    os.nice(NICENESS)
    results.send(function(*arguments))
