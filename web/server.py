"""The web server: gunicorn, configured to suit the index.

An embedded index belongs to one process, so there is one worker with many threads; with a Qdrant server there are as
many workers as cores. Most threads wait for a client's bytes or for their turn to compute (see `services`). A client
that stays silent loses its thread after 10 seconds, and a request that is incomplete after 60 seconds is cut off; the
upload of a model has longer.

Index and network do not survive a fork, and ONNX Runtime and Qdrant Edge start threads when they are imported. So only
the worker imports and opens them.
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

from retrieval.cores import usable_cores
from retrieval.errors import LookalikeError, NoModel
from retrieval.index import open_store
from retrieval.photo_ref import display
from retrieval.settings import Settings
from web import arrival, logs

if TYPE_CHECKING:
    from flask import Flask

    from retrieval.search import Searcher
    from web.services import Services
    from web.serving import Serving

THREADS = 64
MAX_SILENCE = 10  # seconds
FOLLOW_SECONDS = 2  # between two checks for another current model
MAX_REQUEST_LINE = 8190  # bytes; the address of a search by an uploaded photo holds its embedding

# Status codes for requests that gunicorn cannot parse; 400 for all others.
UNREADABLE = {LimitRequestLine: 414, LimitRequestHeaders: 431, UnsupportedTransferCoding: 501}

Ready = Callable[[str | None, int], None]

log = logging.getLogger("lookalike")


def run(settings: Settings, listener: socket.socket, ready: Ready) -> None:
    """Serve until SIGINT or SIGTERM, then close the index.

    Args:
        listener: a bound socket; it is closed in the end.
        ready: called in the first worker once it accepts requests, with the model, None if there is none yet, and the
            number of indexed photos.

    Raises:
        LookalikeError: if a worker can't start: the bundle is damaged, another process holds the index.
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
    """Return a socket bound to an address; port 0 selects a free port.

    Raises `LookalikeError` if the address is in use, not permitted or not an address of this machine.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.create_server(address[:2], family=family, backlog=2048)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise LookalikeError(
                f"Port {port} of {host} is in use.",
                "Stop the program that listens there, or choose another port with --port.",
            ) from None
        raise LookalikeError(
            f"Cannot listen on {host}, port {port} ({error.strerror}).",
            "Choose another address with --host and --port.",
        ) from None
    # Each connection inherits these limits; gunicorn has none for a client that neither sends nor reads.
    silence = struct.pack("ll", MAX_SILENCE, 0)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, silence)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, silence)
    return listener


class _Server(BaseApplication):  # type: ignore[misc]
    def __init__(self, settings: Settings, listener: socket.socket, ready: Ready) -> None:
        self._settings = settings
        self._listener = listener
        address = ipaddress.ip_address(listener.getsockname()[0])
        self._local = address.is_loopback
        self._ready = ready
        self._services: Services | None = None
        self._store = open_store(settings)
        self._store.address = _url(address, listener.getsockname()[1])
        many = self._store.allows_many_processes
        self._counts = Path(tempfile.mkdtemp(prefix="lookalike-metrics-")) if many else None
        self.stopping = threading.Event()
        self._failure_reader, self._failure_writer = os.pipe()
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": usable_cores() if self._store.allows_many_processes else 1,
            "worker_class": _Worker,
            "threads": THREADS,
            "keepalive": 30,
            "sendfile": False,  # would wait forever for a client that does not read
            "limit_request_line": MAX_REQUEST_LINE,
            "control_socket_disable": True,
            "logconfig_dict": logs.configuration(self._settings),
            "post_worker_init": self._report_ready,
            "worker_exit": self._close,
        }
        for name, value in options.items():
            self.cfg.set(name, value)

    def load(self) -> "Flask":
        """Open index, network and templates in the worker, so that the first request is as fast as later ones."""
        _return_freed_memory()
        if self._counts is not None:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(self._counts)
        from indexer.model_registry import save_unknown_counts  # noqa: PLC0415 - after the fork
        from web.app import create_app  # noqa: PLC0415 - after the fork
        from web.services import EXTENSION  # noqa: PLC0415 - after the fork

        searcher = self._open_searcher()
        with suppress(LookalikeError):
            save_unknown_counts(self._settings, self._store)
        app = create_app(self._settings, self._store, searcher, local=self._local, stopping=self.stopping)
        for template in app.jinja_env.list_templates():
            app.jinja_env.get_template(template)  # compiles and caches it
        self._services = services = app.extensions[EXTENSION]
        threading.Thread(target=self._follow, args=[services.serving], name="follow", daemon=True).start()
        if self._settings.redis_url is None:  # otherwise `beat` schedules it
            from indexer.scheduled_sync import run_schedule  # noqa: PLC0415 - after the fork

            schedule = [self._settings, services.jobs, self.stopping]
            threading.Thread(target=run_schedule, args=schedule, name="sync", daemon=True).start()
        sweep = services.kept_queries.sweep_until
        threading.Thread(target=sweep, args=[self.stopping], name="sweep", daemon=True).start()
        return app

    def _open_searcher(self) -> "Searcher | None":
        """In the worker: open index and network; None if there is no model yet."""
        from web.serving import open_warm  # noqa: PLC0415 - after the fork

        try:
            return open_warm(self._settings, self._store)
        except NoModel:
            return None
        except LookalikeError as error:
            self._fail(error)

    def clean_up(self) -> None:
        """In the arbiter: remove the workers' metrics."""
        if self._counts is not None:
            shutil.rmtree(self._counts, ignore_errors=True)

    def raise_failure(self) -> None:
        """In the arbiter: raise the error that kept a worker from starting, if any."""
        os.close(self._failure_writer)
        with os.fdopen(self._failure_reader) as pipe:
            failure = pipe.readline()
        if failure:
            raise LookalikeError(*json.loads(failure))

    def _fail(self, error: LookalikeError) -> NoReturn:
        """In the worker: report an error to the arbiter and stop it before it starts another worker."""
        os.write(self._failure_writer, json.dumps([error.message, error.remedy]).encode() + b"\n")
        os.kill(os.getppid(), signal.SIGTERM)
        sys.exit(0)

    def _follow(self, serving: "Serving") -> None:
        """Switch to the model that another process, for example a command, has made the current one."""
        reported = ""
        while not self.stopping.wait(FOLLOW_SECONDS):
            try:
                serving.follow()
                reported = ""
            except LookalikeError as error:
                if error.message != reported:
                    log.warning("The current model can't be served: %s", error)
                reported = error.message

    def _report_ready(self, worker: ThreadWorker) -> None:
        if worker.age == 1 and self._services is not None:
            try:
                with self._services.serving.use() as searcher:
                    self._ready(searcher.index.model, searcher.index.count(exact=False))
            except NoModel:
                self._ready(None, 0)

    def _close(self, _arbiter: Arbiter, _worker: ThreadWorker) -> None:
        if self._services is not None:
            self._services.close()
            self._store.close()


def _url(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    """Return the URL of the server for processes of this machine."""
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def _return_freed_memory() -> None:
    """Make glibc return large freed buffers to the system.

    By default it caches up to 64 MB of them for each thread: 90 MB after a thousand photos of all formats and sizes,
    compared to 25 MB with these settings (mallopt(3): M_ARENA_MAX, M_MMAP_THRESHOLD).
    """
    with suppress(AttributeError, OSError):  # another C library
        libc = ctypes.CDLL(None)
        libc.mallopt(-8, 2)
        libc.mallopt(-3, 4 << 20)


class _Worker(ThreadWorker):  # type: ignore[misc]
    """Limits the time in which a request must arrive, however steadily its bytes come, and announces its own end.

    It overrides methods that gunicorn does not document; tests/web/test_gunicorn.py fails if they change.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._deadlines: dict[TConn, arrival.Deadline] = {}

    def handle(self, conn: TConn) -> object:
        self._deadlines[conn] = arrival.begin()
        try:
            return super().handle(conn)
        finally:
            del self._deadlines[conn]

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: BaseException) -> None:
        """See gunicorn. A request that can't be parsed gets a problem document like any other refused request."""
        if not isinstance(exc, ParseException):
            super().handle_error(req, client, addr, exc)
            return
        status = HTTPStatus(UNREADABLE.get(type(exc), 400))
        log.warning("refused a request that can't be read: %s", display(str(exc)))
        with suppress(OSError):  # the client has disconnected
            write_nonblock(client, _unreadable(status))

    def murder_pending(self) -> None:
        """See gunicorn, which calls this each second. It does not affect a request that has arrived completely."""
        super().murder_pending()
        for conn, deadline in self._deadlines.copy().items():
            if deadline.seconds_left < 0:
                with suppress(OSError):  # it has just been closed
                    conn.sock.shutdown(socket.SHUT_RD)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.app.stopping.set()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        self.app.stopping.set()
        super().handle_quit(sig, frame)


def _unreadable(status: HTTPStatus) -> bytes:
    """A response, head and body, to a request that can't be parsed."""
    from web.problems import MEDIA_TYPE  # noqa: PLC0415 - imports ONNX Runtime
    from web.schemas.problems import Problem  # noqa: PLC0415 - as well

    problem = Problem(
        status=status,
        title=status.phrase,
        detail=f"{status.description or status.phrase}.",
        remedy="Send a shorter address, fewer or shorter headers, or valid HTTP/1.1.",
    )
    body = problem.model_dump_json().encode()
    head = f"HTTP/1.1 {status} {status.phrase}\r\nConnection: close\r\nContent-Type: {MEDIA_TYPE}\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
