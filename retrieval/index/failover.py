"""One server at several addresses, such as the nodes of a cluster: requests go to one that answers."""

import time
from collections.abc import Sequence

import httpx

from retrieval.index import retries

UNAVAILABLE = (502, 503, 504)


class Failover(httpx.BaseTransport):
    """Sends each request to the address that answered last; if it fails there, to the others in their order.

    All attempts together take at most the timeout of the request, and the time limit of `retrieval.index.retries`. An
    address that accepts the connection and does not answer gets an equal share of the time that is left. Requests may
    be sent twice, so they must be idempotent.

    Args:
        urls: at least one, with equal paths.
        transport: sends the requests.
    """

    def __init__(self, urls: Sequence[str], transport: httpx.BaseTransport) -> None:
        self._urls = [httpx.URL(url) for url in urls]
        self._transport = transport
        self._preferred = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; raises `httpx.TransportError` if no address answers in time."""
        timeout = request.extensions.get("timeout", {})
        end = time.monotonic() + min(timeout.get("read") or retries.NO_LIMIT, retries.seconds_left())
        count, first = len(self._urls), self._preferred
        for attempt in range(count):
            seconds = (end - time.monotonic()) / (count - attempt)
            if seconds <= 0:
                break
            place = (first + attempt) % count
            is_last = attempt == count - 1
            try:
                response = self._transport.handle_request(_addressed(request, self._urls[place], seconds))
            except httpx.TransportError:
                if is_last:
                    raise
                continue
            if response.status_code in UNAVAILABLE and not is_last:
                response.close()
                continue
            self._preferred = place
            return response
        raise httpx.ReadTimeout("The time limit was reached.", request=request)

    def close(self) -> None:
        """Close all connections."""
        self._transport.close()


def _addressed(request: httpx.Request, url: httpx.URL, seconds: float) -> httpx.Request:
    """Return a request for another address, with its own time limit."""
    target = request.url.copy_with(scheme=url.scheme, host=url.host, port=url.port)
    headers = request.headers.copy()
    headers["Host"] = target.netloc.decode("ascii")
    limits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
    extensions = request.extensions | {"timeout": limits}
    return httpx.Request(request.method, target, headers=headers, stream=request.stream, extensions=extensions)
