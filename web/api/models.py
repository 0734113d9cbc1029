"""`/models`: those of this place, and which of them serves."""

from dataclasses import asdict

from apiflask import APIBlueprint

from indexer.model_registry import activate, list_models, rollback
from web.keys import WRITES
from web.schemas import Models
from web.services import services

blueprint = APIBlueprint("models", __name__, tag="Models")


@blueprint.get("/models")
@blueprint.output(Models)
def show() -> Models:
    """The models with what their training measured, and which of them serves."""
    return _models()


@blueprint.post("/models/<string:model>/activate")
@blueprint.auth_required(WRITES)
@blueprint.output(Models)
@blueprint.doc(responses=[403, 404, 409])
def make_current(model: str) -> Models:
    """Make a model the one that serves, after its index passed the cross-check and finds no less than the one before.

    Searches that are under way end on the model before.
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
    """Make the model that served before the current one serve again."""
    served = services()
    rollback(served.settings, served.store)
    served.serving.follow()
    return _models()


def _models() -> Models:
    found = list_models(services().settings, services().store)
    return Models.model_validate({"models": [asdict(model) for model in found]})
