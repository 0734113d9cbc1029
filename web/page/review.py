"""The page on which a person reviews queues of photos: likely mislabelled ones, unlabelled ones, and duplicates."""

from dataclasses import dataclass

from flask import render_template, request

from indexer.review.queues import QueueName
from retrieval.api_keys import Scope
from web.keys import offers
from web.schemas.fields import API, RequestModel
from web.services import services
from web.validation import check_fields


@dataclass(frozen=True, slots=True)
class QueueTitle:
    """How the page names a queue, and what it says about it."""

    title: str
    about: str


QUEUES: dict[QueueName, QueueTitle] = {
    "mislabelled": QueueTitle("Likely mislabelled", "The photos that look most like these have another label."),
    "unlabelled": QueueTitle("Confident suggestions", "These photos have no label, and the nearest ones agree on one."),
    "informative": QueueTitle("Most useful to label", "The model is undecided on these photos without a label."),
    "duplicates": QueueTitle("Duplicates", "Another photo is identical or nearly so, and at least as large."),
}


class ReviewQuery(RequestModel):
    """Which queue the page shows."""

    queue: QueueName = "mislabelled"


def show() -> str:
    """A queue of photos to review.

    Raises `NoModel` if there is no model yet.
    """
    query = check_fields(ReviewQuery, request.args)
    parts = services().searcher.parts
    return render_template(
        "review.html",
        api=f"{request.script_root}{API}",
        writable=offers(Scope.WRITE),
        queues=QUEUES,
        chosen=query.queue,
        look=None if parts.default_look is None else 0,
    )
