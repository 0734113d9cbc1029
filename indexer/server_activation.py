"""Activating a model by the server that has the embedded indexes open, for `lookalike models activate`."""

import time

import httpx

from indexer.jobs import load_job
from indexer.model_registry import Activation, last_activation
from retrieval.api_keys import Scope, load_keys
from retrieval.errors import LookalikeError
from retrieval.settings import Settings

REQUEST_SECONDS = 120  # of a request; an index with more than 10,000 photos is checked by a job
POLL_SECONDS = 0.5


def activate_on_server(settings: Settings, address: str, model: str, max_loss: float) -> Activation:
    """Ask the server at an address, which uses the same home, to check a model and to make it the current one.

    Returns:
        The checks that it passed.

    Raises:
        LookalikeError: the server refused, or does not respond; the message says why.
    """
    with httpx.Client(base_url=address, headers=_authorization(settings), trust_env=False) as client:
        try:
            path = f"/api/v1/models/{model}/activate"
            response = client.post(path, params={"max_loss": max_loss}, timeout=REQUEST_SECONDS)
        except httpx.HTTPError as error:
            raise LookalikeError(
                f"The server at {address}, which has the index open, does not respond ({error}).",
                "Run the command again, or stop the server first.",
            ) from None
    if response.status_code == httpx.codes.ACCEPTED:
        _wait(settings, response.json()["id"])
    elif response.is_error:
        raise _refusal(response, address)
    return last_activation(settings, model)


def _authorization(settings: Settings) -> dict[str, str]:
    """Return the header with a key that may activate models; empty if there is none, and the server refuses."""
    secrets = (key.secret for key in load_keys(settings) if key.scope >= Scope.ADMIN)
    return {"Authorization": f"Bearer {secret}"} if (secret := next(secrets, None)) else {}


def _wait(settings: Settings, job_id: str) -> None:
    """Wait for the end of a job; raises `LookalikeError` if it was not completed."""
    while (job := load_job(settings, job_id)).state == "running":
        time.sleep(POLL_SECONDS)
    if job.state != "done":
        raise LookalikeError(job.error or f"The job {job_id}, which checks the model, ended: {job.state}.")


def _refusal(response: httpx.Response, address: str) -> LookalikeError:
    """Return the error of a response, a problem document (RFC 9457)."""
    try:
        problem = response.json()
        return LookalikeError(problem["detail"], problem.get("remedy") or "")
    except (ValueError, KeyError, TypeError):
        return LookalikeError(f"{address}, which has the index open, refused with status {response.status_code}.")
