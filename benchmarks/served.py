"""Start `lookalike serve` with a new index, and measure its memory."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

LOOKALIKE = [sys.executable, "-m", "lookalike"]
BOUNDARY = "photo"


@dataclass(frozen=True)
class Server:
    """A running server: host and port, and its process."""

    address: str
    process: psutil.Process

    def worker(self) -> int:
        """The worker process; a new one after a crash."""
        return int(self.process.children()[0].pid)

    def memory_mb(self) -> float:
        """Resident memory of the server and its worker."""
        return sum(self.memory_mb_of_each())

    def memory_mb_of_each(self) -> list[float]:
        """Resident memory by process."""
        processes = [self.process, *self.process.children(recursive=True)]
        return [process.memory_info().rss / 1e6 for process in processes]


@contextmanager
def served(bundle: Path, photos: Path) -> Iterator[Server]:
    """Index a folder of photos with a bundle, and serve it."""
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"LOOKALIKE_HOME": home}
        command = [*LOOKALIKE, "index", str(photos), "--bundle", str(bundle)]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
        with serving(environment) as server:
            yield server


@contextmanager
def serving(environment: dict[str, str]) -> Iterator[Server]:
    """Serve the index."""
    command = [*LOOKALIKE, "serve", "--port", "0", "--json"]
    server = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    try:
        address = urlsplit(json.loads(server.stdout.readline())["url"]).netloc
        yield Server(address, psutil.Process(server.pid))
    finally:
        server.terminate()
        server.wait()


def upload(photo: bytes, **fields: object) -> tuple[bytes, dict[str, str]]:
    """The body and headers of a search by a photo."""
    parts = [f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{fields[name]}' for name in fields]
    parts.append(f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="photo.jpg"\r\n\r\n')
    body = "\r\n".join(parts).encode() + photo + f"\r\n--{BOUNDARY}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
