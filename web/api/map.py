"""`GET /map`."""

from apiflask import APIBlueprint
from flask import Response, request

from indexer.map import load_map_and_changes
from web.schemas.map import Map
from web.services import services

blueprint = APIBlueprint("map", __name__, tag="Map")


@blueprint.get("/map")
@blueprint.output(Map)
@blueprint.doc(
    operation_id="getMap", responses={304: "Unchanged", 404: "Not computed yet: `POST /jobs` with the kind `map`"}
)
def show() -> Response:
    """Return a 2-D projection of all photos of the current model, or of a sample of 20,000."""
    served = services()
    response = Response(load_map_and_changes(served.settings, served.searcher.index), mimetype="application/json")
    response.add_etag()
    response.cache_control.private = True
    response.cache_control.no_cache = True
    response.make_conditional(request)
    return response
