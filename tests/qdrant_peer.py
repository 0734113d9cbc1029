"""An HTTP server that answers as a Qdrant server may: the right thing, late, with a refusal or with nonsense."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from typing import Any

Asked = tuple[str, str]


@dataclass
class Peer:
    """The requests that the server received, and its answers.

    Args:
        answers: per (method, path), the results in the order of the requests, the last one for all that follow: what a
            Qdrant server calls `result`, or a status and the text of an error.
        delay: seconds before each answer.
    """

    answers: dict[Asked, list[Any]] = field(default_factory=dict)
    delay: float = 0.0
    version: str = version("qdrant-client")
    asked: list[Asked] = field(default_factory=list)
    bodies: dict[Asked, list[Any]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    url: str = ""

    def answer(self, asked: Asked, body: bytes) -> tuple[int, bytes]:
        """The status and body for a request."""
        self.asked.append(asked)
        self.bodies.setdefault(asked, []).append(json.loads(body) if body else None)
        if asked == ("GET", "/readyz") and asked not in self.answers:
            return 200, b"all shards are ready"
        if asked == ("GET", "/") and not {asked, ("*", "*")} & self.answers.keys():
            return 200, json.dumps({"title": "qdrant - vector search engine", "version": self.version}).encode()
        planned = self.answers.get(asked) or self.answers.get(("*", "*")) or [(404, "no such thing")]
        given = planned.pop(0) if len(planned) > 1 else planned[0]
        if isinstance(given, bytes):
            return 200, given
        if isinstance(given, tuple):
            return given[0], json.dumps({"status": {"error": given[1]}, "time": 0.0}).encode()
        return 200, json.dumps({"result": given, "status": "ok", "time": 0.0}).encode()


@contextmanager
def served(peer: Peer, tls: ssl.SSLContext | None = None) -> Iterator[Peer]:
    """Serve a peer on a free port of this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            peer.headers = {name.lower(): value for name, value in self.headers.items()}
            status, answer = peer.answer((self.command, self.path.partition("?")[0]), body)
            time.sleep(peer.delay)
            self.send_response(status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_POST = do_PUT = do_DELETE = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    peer.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    try:
        yield peer
    finally:
        server.shutdown()
        server.server_close()
