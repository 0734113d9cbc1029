"""`GET /labels`."""

from retrieval.labels import composed
from web.schemas.browsing import LabelCount, LabelOptions, Labels
from web.services import services
from web.validation import Blueprint

blueprint = Blueprint("labels", __name__, tag="Photos")


@blueprint.get("/labels")
@blueprint.input(LabelOptions, location="query")
@blueprint.output(Labels)
@blueprint.doc(operation_id="listLabels", responses=[422])
def labels(query_data: LabelOptions) -> Labels:
    """List the labels of the indexed photos with the number of photos that carry each, most frequent first.

    With tens of thousands of labels, the counts may be some seconds old.
    """
    prefix = composed(query_data.q).casefold()
    counts = services().label_counts.of(services().searcher.index).items()
    found = [(label, count) for label, count in counts if f" {prefix}" in f" {label.casefold()}"]
    page = found[query_data.offset : query_data.offset + query_data.limit]
    return Labels(labels=[LabelCount(label=label, count=count) for label, count in page], total=len(found))
