"""Whether a host can be reached, known within seconds; libraries that download wait for minutes without a network."""

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 4.0


class Unreachable(ConnectionError):
    """A host that does not answer, with the URL that was asked for."""


@contextmanager
def impatient_downloads() -> Iterator[None]:
    """Within it, what any library downloads with `urllib` raises `Unreachable` within seconds where nobody answers."""
    urllib.request.install_opener(urllib.request.build_opener(_AskFirst()))
    try:
        yield
    finally:
        urllib.request.install_opener(urllib.request.build_opener())


def reachable(url: str, patience: float = PATIENCE) -> bool:
    """Whether a server answers at this URL (with whatever status) within `patience` seconds, name look-up included."""
    answers: list[bool] = []
    asking = threading.Thread(target=lambda: answers.append(_answers(url, patience)), daemon=True)
    asking.start()
    asking.join(patience)
    return answers == [True]


class _AskFirst(urllib.request.BaseHandler):
    """Looks at a request before it is sent."""

    def http_request(self, request: urllib.request.Request) -> urllib.request.Request:
        if not reachable(request.full_url):
            raise Unreachable(f"{request.full_url} does not answer")
        return request

    https_request = http_request


def _answers(url: str, timeout: float) -> bool:
    request = urllib.request.Request(url, method="HEAD")
    try:
        with urllib.request.build_opener().open(request, timeout=timeout):
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500 and error.code not in (403, 407)  # a proxy that refuses speaks in these
    except (OSError, ValueError):
        return False
