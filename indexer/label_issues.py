"""Indexed photos whose label is likely wrong: `lookalike doubtful`."""

from dataclasses import dataclass

from indexer.gallery import Gallery
from retrieval.analysis.label_issues import VOTERS, find_label_issues
from retrieval.top_k import top_k_of_each


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A photo whose nearest neighbours mostly have another label.

    Args:
        uri: of the photo.
        label: of the photo.
        suggested: the label of most of its neighbours.
        confidence: its share of the vote, 0 to 1.
        support: the share of the photo's own label.
    """

    uri: str
    label: str
    suggested: str
    confidence: float
    support: float


def find_doubtful(gallery: Gallery, voters: int = VOTERS) -> list[Doubtful]:
    """Return the labelled photos that their nearest labelled neighbours outvote, the likely mislabelled first.

    Each of the `voters` nearest votes with its cosine similarity, as for a search's predicted label. Photos are sorted
    by the lead of the suggested label over their own.
    """
    labelled = [position for position, photo in enumerate(gallery.photos) if photo.label is not None]
    photos = [gallery.photos[position] for position in labelled]
    scores, neighbours = top_k_of_each(gallery.embeddings[labelled], voters)
    issues = find_label_issues([str(photo.label) for photo in photos], neighbours, scores)
    doubtful = [
        Doubtful(
            photos[issue.position].uri,
            issue.label,
            issue.suggested,
            round(issue.confidence, 4),
            round(issue.support, 4),
        )
        for issue in issues
    ]
    return sorted(doubtful, key=lambda found: (found.support - found.confidence, found.uri))
