"""What a listing skipped, by reason, and what a person should know about the photos and labels that it found."""

import os
from dataclasses import dataclass
from typing import Literal, get_args

from retrieval.columns.evidence import ColumnEvidence
from retrieval.photo_ref import display

Reason = Literal["format", "hidden", "system", "excluded", "home"]
ORDER = get_args(Reason)

MOST_DETAILS = 100  # of one reason; suffixes may be numbers
MOST_LABELS = 100_000  # that are compared with each other
MOST_NOTICES = 20
OTHER = "others"
NO_SUFFIX = "without suffix"


@dataclass(slots=True)
class SkippedReason:
    """Files that were skipped for one reason.

    Below a skipped folder, files with the suffix of a photo are counted; other files would not be photos anyway.
    """

    reason: Reason
    detail: str  # the suffix of the files, the name of the folder that contains them, or the pattern that excludes them
    count: int
    example: str  # the first of them, as a printable path relative to its source

    def __str__(self) -> str:
        match self.reason:
            case "format":
                place = self.detail
            case "excluded":
                place = f"excluded by {self.detail}"
            case "home":
                place = f"in Lookalike's folder {self.detail}"
            case _:
                place = self.detail if "*" in self.detail else f"in {self.detail}"
        return f"{self.count:,} {place}"


class ListingReport:
    """Collects what the listing of one or several sources skipped, and notices about what it found.

    Args:
        columns: collects the kinds of columns; None for a new one.
    """

    def __init__(self, columns: ColumnEvidence | None = None) -> None:
        self.columns = columns or ColumnEvidence()  # the kinds of the columns of manifests
        self.skipped = 0  # number of files
        self.notices: list[str] = []  # sentences, each once
        self.missing_labels: list[str] = []  # sentences about manifests without a column of labels
        self.conflicts: list[str] = []  # sentences: photos for which a manifest has different labels or splits
        self._reasons: dict[tuple[Reason, str], SkippedReason] = {}
        self._details: dict[Reason, int] = {}
        self._labels: dict[str, set[str]] = {}

    @property
    def skipped_reasons(self) -> list[SkippedReason]:
        """The reasons, grouped, the most frequent first in each group."""
        return sorted(self._reasons.values(), key=lambda why: (ORDER.index(why.reason), -why.count, why.detail))

    def skip(self, reason: Reason, detail: str, path: str) -> None:
        """Count a file at a path relative to its source."""
        self.skipped += 1
        known = self._reasons.get((reason, detail))
        if known is None:
            known = self._added(reason, detail, path)
        known.count += 1

    def skip_format(self, name: str, path: str) -> None:
        """Count a file with a suffix that no readable format has."""
        self.skip("format", display(os.path.splitext(name)[1].lower()) or NO_SUFFIX, path)

    def skip_raw(self, name: str, path: str) -> None:
        """Count a camera raw file with a JPEG of the same name beside it."""
        self.skip("format", f"{display(os.path.splitext(name)[1].lower())} beside a JPEG", path)

    def notice(self, text: str) -> None:
        """Add a sentence, unless it was added before or there are too many."""
        if text not in self.notices and len(self.notices) < MOST_NOTICES:
            self.notices.append(text)

    def conflict(self, text: str) -> None:
        """Add a sentence about a photo for which a manifest has different labels or splits."""
        self.conflicts.append(text)

    def found_label(self, label: str | None) -> None:
        """Compare a label with those found before, and notice if it differs from one only in case."""
        if label is None or len(self._labels) >= MOST_LABELS:
            return
        alike = self._labels.setdefault(label.casefold(), set())
        if label in alike:
            return
        for other in sorted(alike):
            first, second = sorted((label, other))
            self.notice(f"The labels {first} and {second} differ only in upper and lower case.")
        alike.add(label)

    def summary(self) -> str:
        """The counts as text, for example "312 .heic, 14 .mov, 20 in @eaDir"; empty if nothing was skipped."""
        return ", ".join(map(str, self.skipped_reasons))

    def _added(self, reason: Reason, detail: str, path: str) -> SkippedReason:
        if self._details.get(reason, 0) >= MOST_DETAILS:
            detail = OTHER
        else:
            self._details[reason] = self._details.get(reason, 0) + 1
        return self._reasons.setdefault((reason, detail), SkippedReason(reason, detail, 0, display(path)))
