"""Downloads that fail within seconds without a network, where libraries would wait for minutes."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

TIMEOUT = 4.0


class Unreachable(ConnectionError):
    """The host of a URL does not respond."""


@contextmanager
def fail_fast_downloads() -> Iterator[None]:
    """Within the context, downloads of `urllib` raise `Unreachable` within seconds if the host does not respond."""
    previous = getattr(urllib.request, "_opener", None)  # there is no public way to read it
    urllib.request.install_opener(urllib.request.build_opener(_ReachabilityCheck()))
    try:
        yield
    finally:
        urllib.request.install_opener(previous)


def reachable(url: str) -> bool:
    """Whether a server responds at this URL within `TIMEOUT` seconds, including name resolution."""
    responses: list[bool] = []
    request = threading.Thread(target=lambda: responses.append(_responds(url)), daemon=True)
    request.start()
    request.join(TIMEOUT)
    return responses == [True]


class _ReachabilityCheck(urllib.request.BaseHandler):
    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        if not reachable(request.full_url):
            raise Unreachable(f"{request.full_url} does not respond")
        return request

    https_request = http_request


def _responds(url: str) -> bool:
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.build_opener().open(request, timeout=TIMEOUT):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code not in (403, 407)  # with which a proxy denies access
    except (OSError, ValueError):
        return False
