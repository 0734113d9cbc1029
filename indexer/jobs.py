"""Indexing jobs: what each has done so far, kept on disk so that it can be followed and looked up."""

import json
import secrets
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, computed_field

from indexer.batch import Failure, Outcome
from retrieval.errors import LookalikeError
from retrieval.files import write_atomically

State = Literal["running", "done", "failed", "interrupted"]
SAVED_EVERY_SECONDS = 1.0


class Job(BaseModel):
    """What is known of a job; times are ISO 8601 in UTC, `seconds` without the cross-check."""

    id: str
    sources: list[str]
    model: str
    state: State = "running"
    error: str | None = None
    started_at: str
    seen: int = 0
    indexed: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    seconds: float = 0.0

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated properties
    @property
    def images_per_second(self) -> float:
        """The photos seen a second, 0 before the first."""
        return round(self.seen / self.seconds, 3) if self.seconds else 0.0


class JobRecord:
    """A job and its folder: `job.json`, replaced atomically, and `failures.jsonl`, one failed photo a line.

    Args:
        jobs_folder: where the records of all jobs lie.
        sources: what is indexed, for people to read.
        model: the model's id.

    Raises:
        LookalikeError: the record can't be written.
    """

    def __init__(self, jobs_folder: Path, sources: Sequence[str], model: str) -> None:
        now = datetime.now(UTC)
        self.job = Job(
            id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
            sources=list(sources),
            model=model,
            started_at=now.isoformat(timespec="seconds"),
        )
        self.folder = jobs_folder / self.job.id
        self.first_failures: list[Failure] = []
        self._start = self._saved = time.monotonic()
        self._save()

    @property
    def failures(self) -> Path:
        """The file that lists the failed photos; it exists where there are any."""
        return self.folder / "failures.jsonl"

    def count(self, outcome: Outcome) -> None:
        """Add the outcome of a batch."""
        self.job.seen += outcome.seen
        self.job.indexed += outcome.indexed
        self.job.unchanged += outcome.unchanged
        self.job.failed += len(outcome.failures)
        self.job.seconds = round(time.monotonic() - self._start, 3)
        self._list(outcome.failures)
        if time.monotonic() - self._saved >= SAVED_EVERY_SECONDS:
            self._save()

    def end(self, state: State, *, removed: int = 0, error: str | None = None) -> None:
        """Say how the job ended."""
        self.job.state, self.job.removed, self.job.error = state, removed, error
        self.job.seconds = round(time.monotonic() - self._start, 3)
        self._save()

    def _list(self, failures: Sequence[Failure]) -> None:
        if not failures:
            return
        self.first_failures += failures[: 10 - len(self.first_failures)]
        try:
            with self.failures.open("a", encoding="utf-8") as file:
                file.writelines(json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures)
        except OSError as error:
            raise _not_written(self.failures, error) from None

    def _save(self) -> None:
        try:
            write_atomically(self.folder / "job.json", self.job.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise _not_written(self.folder, error) from None
        self._saved = time.monotonic()


def _not_written(path: Path, error: OSError) -> LookalikeError:
    return LookalikeError(
        f"The job's record {path} can't be written ({error.strerror}).",
        "What is indexed is kept. Make room or correct the permissions, then run the same command again.",
    )
