"""The queues of an index: computed by `find_queues`, and stored in the home."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, get_args

from pydantic import TypeAdapter, ValidationError

from indexer.duplicates import find_calibrated_duplicates
from indexer.gallery import Gallery
from indexer.label_issues import find_doubtful
from indexer.review.confident import find_confident
from indexer.review.informative import find_informative
from indexer.review.votes import Vote, votes_on_unlabelled
from retrieval.analysis.calibration import ScoreThresholds, probability_of_vote
from retrieval.analysis.label_issues import LabelIssue
from retrieval.bundle_format import CalibrationData
from retrieval.errors import LookalikeError, NotFound, os_errors_as
from retrieval.files import write_atomically
from retrieval.index import Payload
from retrieval.parts import KIND
from retrieval.settings import Settings

QueueName = Literal["mislabelled", "unlabelled", "informative", "duplicates"]
NAMES: tuple[QueueName, ...] = get_args(QueueName)
MOST = 2_000  # photos that a queue keeps


@dataclass(frozen=True, slots=True)
class Queued:
    """A photo of a queue: the label that it had, and why it is in the queue."""

    id: uuid.UUID
    label: str | None
    suggested: str | None = None  # the label that most of the nearest photos vote for
    share: float = 0.0  # of the votes for the suggested label, 0 to 1
    rival: str | None = None  # the photo's own label or, if it has none, that with the second most votes
    rival_share: float = 0.0
    confidence: float | None = None  # probability that the suggested label is right; the share if not calibrated
    duplicate_of: uuid.UUID | None = None  # the photo to keep
    score: float | None = None  # cosine similarity of look to that; None if the files are identical

    @property
    def margin(self) -> float | None:
        """The lead of the suggested label over its rival, as a share of the votes; None without a suggestion."""
        return None if self.suggested is None else round(self.share - self.rival_share, 4)


@dataclass(frozen=True, slots=True)
class Queues:
    """The queues of a model, computed when the index had `total` photos."""

    model: str
    computed_at: str  # ISO 8601 in UTC
    total: int
    photos: dict[QueueName, list[Queued]]


STORED = TypeAdapter(Queues)


def find_queues(gallery: Gallery, calibration: CalibrationData | None) -> dict[QueueName, list[Queued]]:
    """Compute all queues of the photos of an index, at most `MOST` photos each."""
    kinds = gallery.part(KIND)
    votes = votes_on_unlabelled([photo.label for photo in gallery.photos], kinds)
    confidence, close_match = _calibrated(gallery, calibration)
    from_vote = _from_vote(gallery, confidence)
    confident = find_confident(votes, confidence, close_match)
    return {
        "mislabelled": _mislabelled(gallery, confidence),
        "unlabelled": [from_vote(vote) for vote in confident[:MOST]],
        "informative": [from_vote(vote) for vote in find_informative(votes, kinds, MOST)],
        "duplicates": list(_duplicates(gallery, calibration))[:MOST],
    }


def save_queues(settings: Settings, model: str, total: int, photos: dict[QueueName, list[Queued]]) -> None:
    """Save the queues of a model; they replace those that were computed before.

    Raises `LookalikeError` if they can't be written.
    """
    now = datetime.now(UTC).isoformat(timespec="seconds")
    path = _file(settings, model)
    with os_errors_as(LookalikeError, f"{path} can't be written", "Free disk space."):
        write_atomically(path, STORED.dump_json(Queues(model, now, total, photos)))


def load_queues(settings: Settings, model: str) -> Queues:
    """Return the queues of a model; raises `NotFound` if they have not been computed, or their file is damaged."""
    try:
        return STORED.validate_json(_file(settings, model).read_bytes())
    except (OSError, ValidationError):
        raise NotFound(
            f"The queues of {model} have not been computed yet.",
            'Start a job of the kind "review", and wait for its end.',
        ) from None


def _file(settings: Settings, model: str) -> Path:
    return settings.home / "review" / f"{model}.json"


def _calibrated(gallery: Gallery, calibration: CalibrationData | None) -> tuple[Callable[[float], float], float]:
    """Return the probability of a label by its share of the votes, and the score of a close match by kind."""
    if calibration is None:
        return (lambda share: share), -1.0
    thresholds = ScoreThresholds(calibration, gallery.parts)
    look = None if gallery.parts.default_look is None else 0.0
    close_match, vote = thresholds.close_match(len(gallery.photos), look), thresholds.vote
    return (lambda share: share if vote is None else probability_of_vote(share, vote)), close_match


def _from_vote(gallery: Gallery, confidence: Callable[[float], float]) -> Callable[[Vote], Queued]:
    def queued(vote: Vote) -> Queued:
        known = None if vote.label is None else round(confidence(vote.share), 4)
        shares = round(vote.share, 4), vote.rival, round(vote.rival_share, 4)
        return Queued(gallery.ids[vote.photo], None, vote.label, *shares, known)

    return queued


def _mislabelled(gallery: Gallery, confidence: Callable[[float], float]) -> list[Queued]:
    ids = _ids_by_uri(gallery)

    def queued(uri: str, issue: LabelIssue) -> Queued:
        known = round(confidence(issue.confidence), 4)
        return Queued(ids[uri], issue.label, issue.suggested, issue.confidence, issue.label, issue.support, known)

    return [queued(uri, issue) for uri, issue in find_doubtful(gallery)[:MOST]]


def _duplicates(gallery: Gallery, calibration: CalibrationData | None) -> Iterator[Queued]:
    """Yield all photos of each group but the one to keep: identical files first."""
    found = find_calibrated_duplicates(gallery, calibration)
    ids, photos = _ids_by_uri(gallery), {photo.uri: photo for photo in gallery.photos}
    kept_of: dict[str, str] = {}
    for identical in found.identical:
        kept, *others = _to_keep_first(identical.photos, photos)
        for uri in others:
            kept_of[uri] = kept
            yield Queued(ids[uri], photos[uri].label, duplicate_of=ids[kept])
    for similar in found.near_identical:
        kept, *others = _to_keep_first([kept_of.get(uri, uri) for uri in similar.photos], photos)
        for uri in others:
            yield Queued(ids[uri], photos[uri].label, duplicate_of=ids[kept], score=similar.score)


def _to_keep_first(uris: Sequence[str], photos: Mapping[str, Payload]) -> list[str]:
    """Sort duplicates: the one to keep has most pixels, then the larger file, a label, the first name."""

    def key(uri: str) -> tuple[int, int, bool, str]:
        photo = photos[uri]
        return -photo.width * photo.height, -photo.bytes, photo.label is None, uri

    return sorted(uris, key=key)


def _ids_by_uri(gallery: Gallery) -> dict[str, uuid.UUID]:
    return {photo.uri: id for photo, id in zip(gallery.photos, gallery.ids, strict=True)}
