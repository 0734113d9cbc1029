"""The web server: gunicorn with settings that suit the index.

An embedded index belongs to one process, so that one worker holds it and answers on threads; beside a Qdrant server
there are as many workers as cores. There are many threads, since most of them wait: for a client's bytes, or for their
turn to compute (see `services`). A client that falls silent loses its thread after a while.

Index and network do not survive a fork: the worker opens them, and even imports ONNX Runtime and Edge, which start
threads when imported.
"""

import errno
import ipaddress
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.workers.base import Worker

from retrieval.errors import LookalikeError
from retrieval.settings import Settings, usable_cores
from web import logs

if TYPE_CHECKING:
    from flask import Flask

    from retrieval.search import Searcher

THREADS = 64
LONGEST_SILENCE = 10  # seconds
# Room for the address of a search by an uploaded photo's embedding.
LONGEST_ADDRESS = 8190

Ready = Callable[[str, int], None]


def run(settings: Settings, listener: socket.socket, ready: Ready) -> None:
    """Serve until SIGINT or SIGTERM, then let go of the index.

    Args:
        settings: what to serve.
        listener: a bound socket; it is closed in the end.
        ready: called in the first worker when it can answer, with the model and the number of indexed photos.

    Raises:
        LookalikeError: a worker could not start: no model yet, a damaged bundle, an index held by another process.
    """
    server = _Server(settings, listener, ready)
    arbiter = os.getpid()
    try:
        server.run()
    except SystemExit as stop:
        if os.getpid() != arbiter:  # a worker ends the same way
            raise
        server.raise_failure()
        if stop.code:
            raise


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to an address; port 0 takes a free one.

    Raises:
        LookalikeError: the address is taken, not allowed, or none of this machine's.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise LookalikeError(
                f"Port {port} of {host} is in use.", "Stop what listens there, or choose another with --port."
            ) from None
        raise LookalikeError(f"{host}, port {port}, can't be served ({error.strerror}).", "Choose others.") from None
    # Each connection inherits this; gunicorn itself sets no limit to how long a request's bytes may be awaited.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", LONGEST_SILENCE, 0))
    return listener


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, listener: socket.socket, ready: Ready) -> None:
        self._settings = settings
        self._listener = listener
        self._local = ipaddress.ip_address(listener.getsockname()[0]).is_loopback
        self._ready = ready
        self._searcher: Searcher | None = None
        self._failure_reader, self._failure_writer = os.pipe()
        super().__init__()

    def load_config(self) -> None:
        """See gunicorn."""
        options: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": usable_cores() if self._settings.qdrant_url else 1,
            "worker_class": "gthread",
            "threads": THREADS,
            "keepalive": 30,
            "limit_request_line": LONGEST_ADDRESS,
            "control_socket_disable": True,
            "logconfig_dict": logs.configuration(self._settings),
            "post_worker_init": self._announce,
            "worker_exit": self._let_go,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> "Flask":
        """Open index and network in the worker, and answer once, so that the first request finds everything warm."""
        from retrieval.models import open_searcher  # noqa: PLC0415 - after the fork
        from web.app import create_app, warm_up  # noqa: PLC0415 - after the fork

        try:
            self._searcher = searcher = open_searcher(self._settings)
        except LookalikeError as error:
            self._fail(error)
        warm_up(searcher)
        return create_app(self._settings, searcher, local=self._local)

    def raise_failure(self) -> None:
        """In the arbiter: raise what kept a worker from starting."""
        os.close(self._failure_writer)
        with os.fdopen(self._failure_reader) as pipe:
            said = pipe.readline()
        if said:
            raise LookalikeError(*json.loads(said))

    def _fail(self, error: LookalikeError) -> NoReturn:
        """In the worker: tell the arbiter why there will be no worker, and stop it before it starts another."""
        os.write(self._failure_writer, json.dumps([error.message, error.remedy]).encode() + b"\n")
        os.kill(os.getppid(), signal.SIGTERM)
        sys.exit(0)

    def _announce(self, worker: Worker) -> None:
        if worker.age == 1 and self._searcher is not None:
            self._ready(self._searcher.index.model, self._searcher.index.count())

    def _let_go(self, _arbiter: Arbiter, _worker: Worker) -> None:
        if self._searcher is not None:
            self._searcher.index.close()
