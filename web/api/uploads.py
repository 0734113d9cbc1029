"""`/uploads`: store photos that a job indexes later."""

from web.keys import WRITES
from web.schemas.photos import PhotoToStore, StoredPhoto
from web.services import services
from web.validation import Blueprint

blueprint = Blueprint("uploads", __name__, tag="Photos")


@blueprint.post("/uploads")
@blueprint.auth_required(WRITES)
@blueprint.input(PhotoToStore, location="form_and_files", arg_name="sent")
@blueprint.output(StoredPhoto, status_code=201)
@blueprint.doc(operation_id="storePhoto", responses=[400, 403, 413, 415, 422])
def store(sent: PhotoToStore) -> StoredPhoto:
    """Store the file of a photo on the server without indexing it, even if there is no model yet.

    A job with the folder of the response as its source indexes all stored photos: those with labels, or those without,
    for which `label_from` is `none`. For many photos, this is faster than
    `POST /images`. Sending the same photo again has no effect.
    """
    path = services().uploads.store(sent.image, sent.label)
    folder = path.parent if sent.label is None else path.parent.parent
    return StoredPhoto(folder=str(folder.resolve()), sha256=path.stem)
