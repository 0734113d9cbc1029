"""Requests to a Qdrant server: retried while it is busy, with errors that a user understands."""

import logging
import ssl
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import version
from json import JSONDecodeError
from pathlib import Path
from typing import TypeVar

import httpx
from qdrant_client import QdrantClient
from qdrant_client.common.client_exceptions import QdrantException
from qdrant_client.http.exceptions import ApiException

from retrieval.closing import Closing
from retrieval.errors import LookalikeError
from retrieval.index import retries
from retrieval.index.failover import Failover
from retrieval.index.refusals import explained, is_transient, retry_after
from retrieval.index.retries import Turn
from retrieval.settings import Settings

OLDEST_SERVER = (1, 16)  # which has ACORN and the metadata of collections
REFILL_SECONDS = 60.0  # after which a server accepts as many requests as its limits of a minute allow
ERRORS = (ApiException, QdrantException, JSONDecodeError)

Result = TypeVar("Result")

log = logging.getLogger("lookalike")


def connect(settings: Settings) -> QdrantClient:
    """Return a client of the settings' server, which is not contacted yet; this takes 50 ms of processor time.

    Raises `LookalikeError` if the file of its certificate authority can't be used.
    """
    key = settings.qdrant_api_key
    encrypted = any(url.startswith("https:") for url in settings.qdrant_urls)
    transport = httpx.HTTPTransport(verify=_trusted(settings.qdrant_ca) if encrypted or settings.qdrant_ca else False)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Api key is used with an insecure connection")  # docs/operations.md says it
        return QdrantClient(
            url=settings.qdrant_urls[0],
            api_key=key.get_secret_value() if key else None,
            timeout=settings.qdrant_timeout_seconds,
            check_compatibility=False,
            transport=Failover(settings.qdrant_urls, transport),
        )


class Connection(Closing):
    """The client of a server, created when it is first used and shared by all threads.

    The first request waits until the server is ready, and compares its version with that of the client.

    Args:
        turn: returns a context in which one request at a time waits for a server that limits the rate of requests; None
            for one that the threads of this process share.
    """

    def __init__(
        self,
        settings: Settings,
        connect: Callable[[Settings], QdrantClient] = connect,
        turn: Turn | None = None,
    ) -> None:
        self.settings = settings
        self._connect = connect
        self._connecting = threading.Lock()
        self._connected: QdrantClient | None = None
        self._is_ready = False
        self._was_limited = False
        lock = threading.Lock()
        self._turn = turn or (lambda: lock)

    def request(self, ask: Callable[[QdrantClient], Result], failure: type[LookalikeError] = LookalikeError) -> Result:
        """Return the result of a request, which is retried while the server is busy, starting or unavailable.

        `retrieval.index.retries` says how often and after which pauses. A job waits as long as a server demands that
        limits the rate of requests, one request of all workers at a time. Requests are idempotent: a point that is
        written or removed twice is written or removed once.

        Raises:
            IndexUnreachable: the server does not respond, or is still busy after the last attempt.
            IndexWriteFailed: its disk is full.
            RequestTooLarge: its rate limit refuses so many points at once.
            LookalikeError: it refuses the request; as `failure`.
        """
        client = self._client()
        return self._retried(lambda: ask(client), failure)

    def slowed_by(self) -> str | None:
        """Return what has slowed requests down since the last call, if anything."""
        was_limited, self._was_limited = self._was_limited, False
        return "The Qdrant server limits the rate of requests, and the job waits for it." if was_limited else None

    def close(self) -> None:
        """Close the client; a later request creates another one."""
        with self._connecting:
            client, self._connected, self._is_ready = self._connected, None, False
        if client:
            client.close()

    def _client(self) -> QdrantClient:
        """Return the client, once the server is ready; threads wait for the server beside each other."""
        with self._connecting:
            if self._connected is None:
                self._connected = self._connect(self.settings)
            client = self._connected
        if not self._is_ready:
            self._retried(lambda: _require_ready(client))
            found = self._retried(lambda: client.info().version)
            _check_version(found, version("qdrant-client"))
            self._is_ready = True
        return client

    def _retried(self, ask: Callable[[], Result], failure: type[LookalikeError] = LookalikeError) -> Result:
        pauses = iter(retries.pauses())
        while True:
            try:
                return self._accepted(ask)
            except ERRORS as error:
                pause = next(pauses, None) if is_transient(error) else None
                if pause is None or pause >= retries.seconds_left():
                    raise explained(error, failure, self.settings) from None
            time.sleep(pause)

    def _accepted(self, ask: Callable[[], Result]) -> Result:
        """Return the result of a request, which waits in turn if the server limits the rate of requests.

        If several waited beside each other, each would use up what the others wait for: a collection of several shards
        counts what some of them have accepted although another one refuses it. A request that is refused again waits
        twice as long as before, so that all shards can accept it.
        """
        try:
            return ask()
        except ERRORS as error:
            if (pause := _demanded_wait(error)) is None:
                raise
        self._was_limited = True
        end = time.monotonic() + pause
        with self._turn():
            while True:
                time.sleep(max(0.0, end - time.monotonic()))
                try:
                    return ask()
                except ERRORS as error:
                    if (seconds := _demanded_wait(error)) is None:
                        raise
                    pause = max(seconds, min(2 * pause, REFILL_SECONDS))
                    end = time.monotonic() + pause


def _demanded_wait(error: BaseException) -> float | None:
    """Return for how long a request has to wait; None if it was not refused for its rate, or should not wait."""
    return retry_after(error) if retries.waits_for_rate_limits() else None


def versions_apart(server: str, client: str) -> str | None:
    """Return a warning if server and client are more than one minor version apart; None if they are not.

    Qdrant supports a client with servers of the same, the previous and the next minor version.
    """
    (major, minor), (of_client, minor_of_client) = numbers(server), numbers(client)
    if major == of_client and abs(minor - minor_of_client) <= 1:
        return None
    return f"The Qdrant server has version {server} and its client {client}; at most one minor version apart is safe."


def _check_version(server: str, client: str) -> None:
    """Warn of versions that differ; raise `LookalikeError` if the server is too old."""
    if numbers(server) < OLDEST_SERVER:
        oldest = ".".join(map(str, OLDEST_SERVER))
        raise LookalikeError(
            f"The Qdrant server has version {server}; version {oldest} or later is required (the client is {client}).",
            "Upgrade the server.",
        )
    if warning := versions_apart(server, client):
        log.warning(warning)


def numbers(version: str) -> tuple[int, int]:
    """Return the major and the minor version."""
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _require_ready(client: QdrantClient) -> None:
    # A ready server responds in plain text, which the client can't parse; a client in memory has no REST interface.
    with suppress(JSONDecodeError, NotImplementedError):
        client.http.service_api.readyz()


def _trusted(authority: Path | None) -> ssl.SSLContext | bool:
    """How to verify a server's certificate: by the given certificate authority, or by those of the system."""
    if authority is None:
        return True
    try:
        return ssl.create_default_context(cafile=authority)
    except OSError as error:  # SSLError is one
        raise LookalikeError(
            f"The certificate authority {authority} can't be used ({error.strerror or error}).",
            "Point LOOKALIKE_QDRANT_CA to a PEM file.",
        ) from None
