"""`GET /labels`."""

from apiflask import APIBlueprint

from web.schemas import Labels
from web.services import services

blueprint = APIBlueprint("labels", __name__, tag="Photos")


@blueprint.get("/labels")
@blueprint.output(Labels)
def labels() -> Labels:
    """The labels of the indexed photos with how many carry each, the most frequent first."""
    return Labels.of(services().searcher.index.labels().items())
