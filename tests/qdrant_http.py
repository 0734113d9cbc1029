"""The stand-in for a Qdrant server, reachable over HTTP.

python tests/qdrant_http.py PORT [FOLDER]
"""

import json
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
from qdrant_client import QdrantClient
from stand_in import Answer, StandIn


class Node:
    """An address at which a stand-in answers; several nodes may share one, as those of a cluster do."""

    def __init__(self, server: StandIn, port: int = 0) -> None:
        self.silent = threading.Event()  # set: it accepts connections, and does not answer
        self._open: set[socket.socket] = set()
        self._http = ThreadingHTTPServer(("127.0.0.1", port), _handler(server, self.silent, self._open))
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def start(self) -> "Node":
        self._thread.start()
        return self

    def kill(self) -> None:
        """Close the address and all connections, as a killed process does."""
        self._http.shutdown()
        self._http.server_close()
        while self._open:
            with suppress(OSError):
                self._open.pop().shutdown(socket.SHUT_RDWR)


@contextmanager
def listening(server: StandIn, port: int = 0) -> Iterator[Node]:
    """Let a stand-in answer at an address."""
    node = Node(server, port).start()
    try:
        yield node
    finally:
        node.silent.clear()
        node.kill()


class Direct(httpx.BaseTransport):
    """Sends the requests of a client to a stand-in, without a network."""

    def __init__(self, server: StandIn) -> None:
        self._server = server

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        url = request.url.raw_path.decode()
        given = self._server.answer(request.method, url, request.read(), headers)
        content = given.content if isinstance(given.content, str) else json.dumps(given.content)
        return httpx.Response(given.status, headers=given.headers, content=content)


def direct_client(server: StandIn) -> QdrantClient:
    """A client of a stand-in, without a network."""
    return QdrantClient(url="http://stand-in", transport=Direct(server), check_compatibility=False)


def delete_collections(url: str, prefix: str) -> None:
    """Delete the collections of a prefix, with their aliases."""
    with closing(QdrantClient(url=url, check_compatibility=False)) as client:
        for collection in client.get_collections().collections:
            if collection.name.startswith(f"{prefix}-"):
                client.delete_collection(collection.name)


def _handler(server: StandIn, silent: threading.Event, connections: set[socket.socket]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # headers and body are written apart: the second would wait 40 ms for an ACK

        def setup(self) -> None:
            super().setup()
            connections.add(self.connection)

        def finish(self) -> None:
            connections.discard(self.connection)
            with suppress(OSError):
                super().finish()

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            while silent.is_set() and self.connection in connections:
                time.sleep(0.02)
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.reply(server.answer(self.command, self.path, body, headers))

        do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

        def reply(self, answer: Answer) -> None:
            content = answer.content if isinstance(answer.content, str) else json.dumps(answer.content)
            data = content.encode()
            with suppress(OSError):
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler


def main(port: str, folder: str | None = None) -> None:
    """Serve until the process is killed."""
    with listening(StandIn(Path(folder) if folder else None), int(port)):
        threading.Event().wait()


if __name__ == "__main__":
    main(*sys.argv[1:])
