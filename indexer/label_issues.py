"""Indexed photos with a label that is likely wrong: `lookalike doubtful`."""

from indexer.gallery import Gallery
from retrieval.analysis.label_issues import VOTERS, LabelIssue, find_label_issues
from retrieval.parts import KIND
from retrieval.top_k import top_k_of_each


def find_doubtful(gallery: Gallery, voters: int = VOTERS) -> list[tuple[str, LabelIssue]]:
    """Return the URIs of labelled photos that their nearest labelled neighbours outvote, the likely mislabelled first.

    Each of the `voters` nearest of the same kind votes with its cosine similarity, as for a search's predicted label.
    Photos are sorted by the lead of the suggested label over their own. Those whose label a person has confirmed vote,
    but are not returned.
    """
    labelled = [position for position, photo in enumerate(gallery.photos) if photo.label is not None]
    photos = [gallery.photos[position] for position in labelled]
    scores, neighbours = top_k_of_each(gallery.part(KIND)[labelled], voters)
    issues = find_label_issues([str(photo.label) for photo in photos], neighbours, scores)
    doubtful = [(photos[position].uri, issue) for position, issue in issues if not photos[position].confirmed]
    return sorted(doubtful, key=lambda found: (found[1].support - found[1].confidence, found[0]))
