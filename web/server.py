"""The web server: gunicorn with settings that suit the index.

An embedded index belongs to one process, so that one worker holds it and answers on threads; beside a Qdrant server
there are as many workers as cores. There are many threads, since most of them wait: for a client's bytes, or for their
turn to compute (see `services`). A client that falls silent loses its thread after a while, and so does one whose
request takes too long to come in.

Index and network do not survive a fork: the worker opens them, and even imports ONNX Runtime and Edge, which start
threads when imported.
"""

import ctypes
import errno
import ipaddress
import json
import logging
import os
import shutil
import signal
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException, UnsupportedTransferCoding
from gunicorn.util import write_nonblock
from gunicorn.workers.gthread import TConn, ThreadWorker

from retrieval.errors import LookalikeError
from retrieval.index import open_store
from retrieval.photo_ref import display
from retrieval.settings import Settings, usable_cores
from web import logs

if TYPE_CHECKING:
    from flask import Flask

    from web.services import Services
    from web.serving import Serving

THREADS = 64
LONGEST_SILENCE = 10  # seconds
LONGEST_REQUEST = 60  # seconds until its last byte is there
LOOK_FOR_ANOTHER_MODEL = 2  # seconds
# Room for the address of a search by an uploaded photo's embedding.
LONGEST_ADDRESS = 8190

# What is no request that the application could be asked; everything else of this kind is a 400.
UNREADABLE = {LimitRequestLine: 414, LimitRequestHeaders: 431, UnsupportedTransferCoding: 501}

Ready = Callable[[str, int], None]

log = logging.getLogger("lookalike")


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
        server.clean_up()
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
    # Each connection inherits these; gunicorn itself sets no limit to how long a client may neither send nor read.
    silence = struct.pack("ll", LONGEST_SILENCE, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, silence)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, silence)
    return listener


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, listener: socket.socket, ready: Ready) -> None:
        self._settings = settings
        self._listener = listener
        self._local = ipaddress.ip_address(listener.getsockname()[0]).is_loopback
        self._ready = ready
        self._services: Services | None = None
        self._store = open_store(settings)
        many = self._store.allows_many_processes
        self._counts = Path(tempfile.mkdtemp(prefix="lookalike-metrics-")) if many else None
        self.stopping = threading.Event()
        self._failure_reader, self._failure_writer = os.pipe()
        super().__init__()

    def load_config(self) -> None:
        """See gunicorn."""
        options: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": usable_cores() if self._store.allows_many_processes else 1,
            "worker_class": _Worker,
            "threads": THREADS,
            "keepalive": 30,
            "sendfile": False,  # it would wait for ever for a client that does not read
            "limit_request_line": LONGEST_ADDRESS,
            "control_socket_disable": True,
            "logconfig_dict": logs.configuration(self._settings),
            "post_worker_init": self._announce,
            "worker_exit": self._let_go,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> "Flask":
        """Open index, network and templates in the worker, so that the first request finds everything warm."""
        _keep_little_memory()
        if self._counts is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._counts)
        from web.app import create_app  # noqa: PLC0415 - after the fork
        from web.services import EXTENSION  # noqa: PLC0415 - after the fork
        from web.serving import open_warm  # noqa: PLC0415 - after the fork

        try:
            searcher = open_warm(self._settings, self._store)
        except LookalikeError as error:
            self._fail(error)
        app = create_app(self._settings, self._store, searcher, local=self._local, stopping=self.stopping)
        for template in app.jinja_env.list_templates():
            app.jinja_env.get_template(template)  # compiled now, and kept
        self._services = services = app.extensions[EXTENSION]
        threading.Thread(target=self._follow, args=[services.serving], name="follow", daemon=True).start()
        return app

    def clean_up(self) -> None:
        """In the arbiter: remove what the workers counted."""
        if self._counts is not None:
            shutil.rmtree(self._counts, ignore_errors=True)

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

    def _follow(self, serving: "Serving") -> None:
        """Take up a model that another process, the command line's for example, has made the current one."""
        complaint = ""
        while not self.stopping.wait(LOOK_FOR_ANOTHER_MODEL):
            try:
                serving.follow()
                complaint = ""
            except LookalikeError as error:
                if error.message != complaint:
                    log.warning("The current model can't be served: %s", error)
                complaint = error.message

    def _announce(self, worker: ThreadWorker) -> None:
        if worker.age == 1 and self._services is not None:
            with self._services.serving.use() as searcher:
                self._ready(searcher.index.model, searcher.index.count())

    def _let_go(self, _arbiter: Arbiter, _worker: ThreadWorker) -> None:
        if self._services is not None:
            self._services.close()
            self._store.close()


def _keep_little_memory() -> None:
    """Have glibc give large buffers back to the system when they are freed.

    By itself it comes to keep up to 64 MB of them for each of many threads: 90 MB more after a thousand photos of all
    formats and sizes, and 25 MB with these settings (mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD).
    """
    with suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(-8, 2)
        libc.mallopt(-3, 4 << 20)


class _Worker(ThreadWorker):  # type: ignore[misc]
    """Gives a request a time to come in, however steadily its bytes drip, and tells what waits that it stops."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadlines: dict[TConn, float] = {}

    def handle(self, conn: TConn) -> object:
        """See gunicorn."""
        self._deadlines[conn] = time.monotonic() + LONGEST_REQUEST
        try:
            return super().handle(conn)
        finally:
            del self._deadlines[conn]

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: BaseException) -> None:
        """See gunicorn. A request that is none gets a problem document like any other that is refused."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = HTTPStatus(UNREADABLE.get(type(exc), 400))
        log.warning("refused a request that can't be read: %s", display(str(exc)))
        with suppress(OSError):  # the client went away
            write_nonblock(client, _unreadable(status))

    def murder_pending(self) -> None:
        """See gunicorn, which calls this each second. A request that is being answered does not feel it."""
        super().murder_pending()
        for conn, deadline in self._deadlines.copy().items():
            if time.monotonic() > deadline:
                with suppress(OSError):  # it ends at this moment
                    conn.sock.shutdown(socket.SHUT_RD)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """See gunicorn."""
        self.app.stopping.set()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        """See gunicorn."""
        self.app.stopping.set()
        super().handle_quit(sig, frame)


def _unreadable(status: HTTPStatus) -> bytes:
    """An answer, head and body, where there is no request to answer."""
    from web.problems import MEDIA_TYPE, Problem  # noqa: PLC0415 - imports ONNX Runtime

    problem = Problem(
        status=status,
        title=status.phrase,
        detail=f"{status.description or status.phrase}.",
        remedy="Send a shorter address, fewer or shorter headers, or proper HTTP/1.1.",
    )
    body = problem.model_dump_json().encode()
    head = f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nContent-Type: {MEDIA_TYPE}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
