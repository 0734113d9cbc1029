"""`POST /explain`."""

from flask import Response

from retrieval.explain import Regions, explain
from web.indexed import photo_bytes
from web.schemas.explanations import Explanation, HeatMap, IndexedMatch, UploadedMatch
from web.schemas.queries import CropBox
from web.services import services
from web.validation import Blueprint

blueprint = Blueprint("explain", __name__, tag="Search")


@blueprint.post("/explain")
@blueprint.input(UploadedMatch, location="form_and_files", arg_name="match", or_json=IndexedMatch)
@blueprint.output(Explanation)
@blueprint.doc(operation_id="explainMatch", responses=[400, 404, 413, 415, 422])
def show(match: UploadedMatch | IndexedMatch) -> Response:
    """Explain which regions of a query and of a result make the two similar.

    Send the query as `multipart/form-data` with a file `image`, or as JSON with the `id` of an indexed photo. A model
    that cannot explain its scores causes the status 404.
    """
    served = services()
    query = match.image if isinstance(match, UploadedMatch) else photo_bytes(match.id)
    result, crop = photo_bytes(match.result), match.crop.crop()
    embedder = served.searcher.embedder
    with served.computing:
        explained = explain(embedder, served.searcher.decoder, query, result, crop, look=match.look)
    body = Explanation(
        model=embedder.bundle.model_id,
        score=round(explained.score, 6),
        query=_heat_map(explained.query),
        result=_heat_map(explained.result),
    )
    return Response(body.model_dump_json(), mimetype="application/json")


def _heat_map(regions: Regions) -> HeatMap:
    seen = regions.seen
    return HeatMap(
        seen=CropBox(x=round(seen.x, 6), y=round(seen.y, 6), width=round(seen.width, 6), height=round(seen.height, 6)),
        contributions=[[round(value, 6) for value in row] for row in regions.contributions.tolist()],
    )
