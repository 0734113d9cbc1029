"""Requests to a server, repeated after failures that may pass."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx
from pydantic import BaseModel, ValidationError
from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from lookalike.client.errors import ApiError, ServerUnreachable, TooManyRequests, Unavailable, error_of

Model = TypeVar("Model", bound=BaseModel)

API = "/api/v1"
NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
BACKOFF = wait_random_exponential(multiplier=0.5, max=10)  # seconds


class Http:
    """Sends requests to the API of a server.

    Args:
        url: the address of the server.
        key: sent with each request; None for none.
        timeout: seconds without a response, after which an attempt fails.
        attempts: how often a request is sent at most.
        longest_wait: seconds; if the server asks to wait longer than this, the error is raised at once.
    """

    def __init__(self, url: str, key: str | None, timeout: float, attempts: int, longest_wait: float) -> None:
        self.url = url.rstrip("/").removesuffix(API)
        headers = {"Authorization": f"Bearer {key.strip()}"} if key else {}
        self._client = httpx.Client(base_url=f"{self.url}{API}", headers=headers, timeout=timeout)
        self._attempts = attempts
        self._longest_wait = longest_wait

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def read(self, model: type[Model], method: str, path: str, **options: Any) -> Model:
        """Send a request as `send` does, and return the document of its response."""
        response = self.send(method, path, **options)
        try:
            return model.model_validate_json(response.content)
        except ValidationError as error:
            raise ServerUnreachable(
                f"{self.url} responds, but not as a Lookalike server of this version does ({error.error_count()} "
                f"fields of {model.__name__} are wrong).",
                "Check the address, and that client and server have the same version.",
            ) from None

    def send(self, method: str, path: str, *, repeatable: bool = True, **options: Any) -> httpx.Response:
        """Send a request, and return its response.

        Args:
            method: of HTTP.
            path: below the API.
            repeatable: whether it may be sent again if it is unknown whether the server received it.
            options: of `httpx.Client.request`.

        Raises:
            ApiError: the server refuses the request.
            ServerUnreachable: there is no response.
        """
        retrying = Retrying(
            stop=stop_after_attempt(self._attempts),
            wait=_wait,
            retry=retry_if_exception(lambda error: self._may_pass(error, repeatable)),
            reraise=True,
        )
        try:
            return retrying(self._send_once, method, path, options)
        except (httpx.TransportError, httpx.InvalidURL) as error:
            raise ServerUnreachable(
                f"The server {self.url} does not respond ({error or type(error).__name__}).",
                "Check the address, and that `lookalike serve` runs there.",
            ) from error

    def _send_once(self, method: str, path: str, options: dict[str, Any]) -> httpx.Response:
        response = self._client.request(method, path, **options)
        if not response.is_success:
            raise error_of(response.status_code, _problem(response), _retry_after(response))
        return response

    def _may_pass(self, error: BaseException, repeatable: bool) -> bool:
        if isinstance(error, TooManyRequests) or (repeatable and isinstance(error, Unavailable)):
            return (error.retry_after or 0) <= self._longest_wait
        if isinstance(error, httpx.UnsupportedProtocol):
            return False
        return isinstance(error, httpx.TransportError if repeatable else NOT_SENT)


def _wait(state: RetryCallState) -> float:
    """The seconds before the next attempt: at least those that the server asks for, which may be 0 by rounding."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.retry_after if isinstance(error, ApiError) else None
    return max(asked or 0.0, BACKOFF(state))


def _retry_after(response: httpx.Response) -> float | None:
    """The seconds of the header `Retry-After`, which is a number or a date."""
    text = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return None


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document of a response; empty if it is none, for example if a proxy responds."""
    try:
        document = response.json()
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
