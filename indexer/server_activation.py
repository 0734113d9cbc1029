"""Activating a model by the server that has the embedded indexes open, for `lookalike models activate`."""

import time

import httpx

from indexer.jobs import load_job
from indexer.model_registry import Activation, last_activation
from retrieval.api_keys import Scope
from retrieval.errors import LookalikeError
from retrieval.local_server import ask
from retrieval.settings import Settings

POLL_SECONDS = 0.5


def activate_on_server(settings: Settings, address: str, model: str, max_loss: float) -> Activation:
    """Ask the server at an address, which uses the same home, to check a model and to make it the current one.

    Returns:
        The checks that it passed.

    Raises:
        LookalikeError: the server refused, or does not respond; the message says why.
    """
    path, params = f"/models/{model}/activate", {"max_loss": max_loss}
    response = ask(settings, address, "POST", path, scope=Scope.ADMIN, params=params)
    if response.status_code == httpx.codes.ACCEPTED:  # an index with more than 10,000 photos is checked by a job
        _wait(settings, response.json()["id"])
    return last_activation(settings, model)


def _wait(settings: Settings, job_id: str) -> None:
    """Wait for the end of a job; raises `LookalikeError` if it was not completed."""
    while (job := load_job(settings, job_id)).state == "running":
        time.sleep(POLL_SECONDS)
    if job.state != "done":
        raise LookalikeError(job.error or f"The job {job_id}, which checks the model, ended: {job.state}.")
