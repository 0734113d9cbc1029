"""Wait for other threads and processes."""

import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Found = TypeVar("Found")


def until(look: Callable[[], Found], seconds: float = 30) -> Found:
    """Return the first true result of `look`; fail if there is none within the given time."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, f"nothing came within {seconds} seconds"
        time.sleep(0.005)
    return found


def until_it_listens(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until a server that was just started accepts connections."""
    while process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    raise AssertionError("the server did not start")


def free_port() -> int:
    """A free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
