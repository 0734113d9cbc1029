"""`/queues`: the photos to review, and the duplicates to keep."""

import uuid

from indexer.changes import photos_changed
from indexer.review.kept import keep_duplicate, kept_duplicates
from indexer.review.queues import NAMES, QueueName, load_queues
from indexer.review.queues import Queues as Computed
from indexer.review.reasons import reason_of
from indexer.review.waiting import Waiting, waiting
from retrieval.errors import NotFound
from web.api.images import shown
from web.indexed import indexed
from web.keys import WRITES, current
from web.links import fields_of_many
from web.schemas.fields import PageOptions
from web.schemas.queues import QueueCount, QueuedPhoto, QueuedPhotos, Queues
from web.services import services
from web.validation import Blueprint

blueprint = Blueprint("queues", __name__, tag="Review")


@blueprint.get("/queues")
@blueprint.output(Queues)
@blueprint.doc(operation_id="listQueues", responses={404: "Not computed yet: `POST /jobs` with the kind `review`"})
def show_all() -> Queues:
    """List the queues of photos to review, with the numbers of photos that wait in them."""
    computed = _computed()
    changed = photos_changed(services().settings, services().searcher.index, computed.computed_at, computed.total)
    counts = [QueueCount(name=name, total=len(_waiting(computed, name))) for name in NAMES]
    return Queues(computed_at=computed.computed_at, changed=changed, queues=counts)


@blueprint.get("/queues/<string:name>")
@blueprint.input(PageOptions, location="query")
@blueprint.output(QueuedPhotos)
@blueprint.doc(operation_id="getQueue", responses=[404, 422])
def show(name: str, query_data: PageOptions) -> QueuedPhotos:
    """List the photos that wait in a queue, most important first.

    The queues are `mislabelled`, `unlabelled` (with a confident suggestion), `informative` (most useful to label next)
    and `duplicates`. A photo leaves its queue as soon as its label is changed or confirmed, or the photo is removed.
    """
    queue = _named(name)
    computed = _computed()
    found = _waiting(computed, queue)
    start, end = query_data.offset, query_data.offset + query_data.limit
    return QueuedPhotos(name=queue, computed_at=computed.computed_at, photos=_shown(found[start:end]), total=len(found))


@blueprint.post("/queues/duplicates/<uuid:photo>/keep")
@blueprint.auth_required(WRITES)
@blueprint.output({}, status_code=204)
@blueprint.doc(operation_id="keepDuplicate", responses=[403, 404])
def keep(photo: uuid.UUID) -> str:
    """Keep a photo although it is a duplicate; it leaves the queue, also when the queues are computed again."""
    return _keep(photo, kept=True)


@blueprint.delete("/queues/duplicates/<uuid:photo>/keep")
@blueprint.auth_required(WRITES)
@blueprint.output({}, status_code=204)
@blueprint.doc(operation_id="reviewDuplicate", responses=[403, 404])
def review_again(photo: uuid.UUID) -> str:
    """Return a duplicate to the queue that was to be kept."""
    return _keep(photo, kept=False)


def _keep(photo: uuid.UUID, *, kept: bool) -> str:
    indexed(photo)
    key = current()
    keep_duplicate(services().settings, photo, key.name if key else None, kept=kept)
    return ""


def _named(name: str) -> QueueName:
    for queue in NAMES:
        if queue == name:
            return queue
    raise NotFound("There is no such queue.", f"The queues are {', '.join(NAMES)}.")


def _computed() -> Computed:
    return load_queues(services().settings, services().searcher.index.model)


def _waiting(computed: Computed, name: QueueName) -> list[Waiting]:
    kept = kept_duplicates(services().settings) if name == "duplicates" else ()
    return waiting(services().searcher.index, computed.photos.get(name, []), kept)


def _shown(found: list[Waiting]) -> list[QueuedPhoto]:
    fields_of = fields_of_many()
    return [
        QueuedPhoto(
            photo=shown(one.queued.id, one.payload, fields_of(one.queued.id, one.payload)),
            suggested=one.queued.suggested,
            confidence=one.queued.confidence,
            margin=one.queued.margin,
            duplicate_of=one.queued.duplicate_of,
            reason=reason_of(one.queued),
        )
        for one in found
    ]
