"""`POST /embeddings`."""

from flask import Response

from retrieval.errors import UnreadablePhoto
from retrieval.index.vectors import Vector
from web.schemas.embeddings import Embeddings, EncodedPhotos, UploadedPhotos
from web.services import services
from web.validation import Blueprint

blueprint = Blueprint("embeddings", __name__, tag="Search")


@blueprint.post("/embeddings")
@blueprint.input(UploadedPhotos, location="form_and_files", arg_name="sent", or_json=EncodedPhotos)
@blueprint.output(Embeddings)
@blueprint.doc(operation_id="embedPhotos", responses=[400, 413, 415, 422])
def embed(sent: UploadedPhotos | EncodedPhotos) -> Response:
    """Return the embeddings of photos, which are not stored.

    Send `multipart/form-data` with up to 100 files `image`, or JSON with a list `image_base64`. If one of them can't be
    decoded, the request fails, and the problem says which.
    """
    photos = sent.image if isinstance(sent, UploadedPhotos) else sent.image_base64
    bundle = services().searcher.embedder.bundle
    body = Embeddings(
        model=bundle.model_id,
        parts=list(bundle.manifest.parts),
        embeddings=[_embed(data, number, len(photos)).tolist() for number, data in enumerate(photos, 1)],
    )
    return Response(body.model_dump_json(), mimetype="application/json")


def _embed(data: bytes, number: int, total: int) -> Vector:
    try:
        with services().computing:
            return services().searcher.embed(data)[0]
    except UnreadablePhoto as error:
        if total == 1:
            raise
        raise UnreadablePhoto(f"Photo {number} of {total} can't be used. {error.message}", error.remedy) from None
