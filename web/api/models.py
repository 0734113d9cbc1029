"""`/models`: list, activate and roll back models."""

from apiflask import APIBlueprint

from indexer.model_registry import activate, list_models, rollback
from web.keys import WRITES
from web.schemas import Models
from web.services import services

blueprint = APIBlueprint("models", __name__, tag="Models")


@blueprint.get("/models")
@blueprint.output(Models)
def show() -> Models:
    """List the models with their metrics, and which of them is current."""
    return _models()


@blueprint.post("/models/<string:model>/activate")
@blueprint.auth_required(WRITES)
@blueprint.output(Models)
@blueprint.doc(responses=[403, 404, 409])
def make_current(model: str) -> Models:
    """Make a model the current one, if its index passes the cross-check and its metrics are not worse.

    Searches that are running finish with the previous model.
    """
    served = services()
    if model != served.serving.follow():  # another process may have made another one current
        activate(served.settings, served.store, model)
        served.serving.follow()
    return _models()


@blueprint.post("/models/rollback")
@blueprint.auth_required(WRITES)
@blueprint.output(Models)
@blueprint.doc(responses=[403, 404, 409])
def make_previous_current() -> Models:
    """Make the previous model the current one again."""
    served = services()
    rollback(served.settings, served.store)
    served.serving.follow()
    return _models()


def _models() -> Models:
    return Models(models=list_models(services().settings, services().store))
