"""The label that the nearest photos predict for a query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from retrieval.analysis.calibration import probability_of_vote
from retrieval.analysis.label_issues import VOTERS, vote_shares
from retrieval.bundle_format import VoteCalibration
from retrieval.index import Hit


@dataclass(frozen=True, slots=True)
class PredictedLabel:
    """The label that most of the photos nearest by kind have, or with the name that is nearest to the photo."""

    label: str
    confidence: Annotated[
        float,
        Field(
            description="probability that the label is right, as measured on validation photos or a sample of the "
            "index; without such a measurement, the label's share of the similarity of the voters"
        ),
    ]
    votes: Annotated[int, Field(description="number of voters with this label; 0 if the source is words")]
    of: Annotated[int, Field(description="number of voters: the nearest photos with a label, 10 at most")]
    source: Annotated[
        Literal["neighbours", "words"],
        Field(description="what the prediction follows from: the nearest photos, or the names of labels as words"),
    ] = "neighbours"


def predict_label(hits: Sequence[Hit], calibration: VoteCalibration | None) -> PredictedLabel | None:
    """Return the label with most votes among the first ten hits, each weighted by its score.

    Returns:
        None if none of them has a label, or no score is positive.
    """
    voters = [(hit.payload.label, hit.score) for hit in hits[:VOTERS] if hit.payload.label is not None]
    labels = [label for label, _ in voters]
    shares = vote_shares(labels, [score for _, score in voters])
    if not shares:
        return None
    label = max(shares, key=lambda name: shares[name])
    share = shares[label]
    confidence = share if calibration is None else probability_of_vote(share, calibration)
    return PredictedLabel(label, round(confidence, 4), labels.count(label), len(labels))
