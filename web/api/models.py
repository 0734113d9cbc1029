"""`/models`: list, activate and roll back models."""

from typing import IO

from flask import Response

from indexer.activation import activation_request, has_few_points
from indexer.model_registry import activate, install, list_models, rollback
from retrieval.index.base import no_index
from web.api.jobs import start_job
from web.keys import WRITES, sees_uris
from web.schemas.models import ActivationOptions, Models, NewModel
from web.services import services
from web.validation import Blueprint

CHECKED_BY_JOB = "A job checks the model and makes it the current one; the same document as of `GET /jobs/{id}`"

blueprint = Blueprint("models", __name__, tag="Models")


@blueprint.get("/models")
@blueprint.output(Models)
@blueprint.doc(operation_id="listModels")
def show() -> Models:
    """List the models with their metrics, and which of them is current."""
    return _models()


@blueprint.post("/models")
@blueprint.auth_required(WRITES)
@blueprint.input(NewModel, location="form_and_files", arg_name="sent", large_file=True)
@blueprint.output(Models, status_code=201)
@blueprint.doc(operation_id="installModel", responses=[400, 403, 409, 413, 415, 422])
def add(sent: NewModel) -> Models:
    """Install a model bundle; if there is no model yet, it becomes the current one.

    Otherwise, index the photos with it (`POST /jobs` with `model`), then activate it.
    """
    install_model(sent.bundle.stream)
    return _models()


@blueprint.post("/models/<string:model>/activate")
@blueprint.auth_required(WRITES)
@blueprint.input(ActivationOptions, location="query")
@blueprint.output(Models)
@blueprint.doc(
    operation_id="activateModel",
    responses={202: CHECKED_BY_JOB, 403: "Forbidden", 404: "Not Found", 409: "Conflict", 422: "Unprocessable Entity"},
)
def make_current(model: str, query_data: ActivationOptions) -> Models | Response:
    """Make a model the current one, if its index passes the cross-check and its metrics are not worse.

    Searches that are running finish with the previous model. With more than 10,000 photos, the checks run as a job.
    """
    served = services()
    served.serving.follow()  # another process may have made another one current
    if model == served.store.current():
        return _models()
    if model not in served.store.models():
        raise no_index(model)
    if not has_few_points(served.store, model):
        job, status, headers = start_job(activation_request(served.settings, model, query_data.max_loss))
        return Response(job.model_dump_json(), status, headers, mimetype="application/json")
    activate(served.settings, served.store, model, max_loss=query_data.max_loss)
    served.serving.follow()
    return _models()


@blueprint.post("/models/rollback")
@blueprint.auth_required(WRITES)
@blueprint.output(Models)
@blueprint.doc(operation_id="rollBackModel", responses=[403, 404, 409])
def make_previous_current() -> Models:
    """Make the previous model the current one again."""
    served = services()
    rollback(served.settings, served.store)
    served.serving.follow()
    return _models()


def install_model(archive: IO[bytes]) -> None:
    """Install the bundle of a ZIP archive, and search with it if it is the first model."""
    served = services()
    install(served.settings, served.store, archive)
    served.serving.follow()


def _models() -> Models:
    models = list_models(services().settings, services().store)
    if not sees_uris():
        hide = services().shown_paths.without_folders
        models = [model.model_copy(update={"problem": model.problem and hide(model.problem)}) for model in models]
    return Models(models=models, serves=services().serving.model)
