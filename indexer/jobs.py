"""Job records: the request, state and counts of each job, on disk, so that any process can follow and cancel it.

Jobs are run by `indexer.runner`.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, computed_field

from indexer.batch import BatchResult
from indexer.index_evaluation import IndexEvaluation
from indexer.removal import RefusedRemoval, Removal
from retrieval.cancellation import CancellationToken
from retrieval.columns.kinds import Kind as ColumnKind
from retrieval.columns.schema import PLACE
from retrieval.errors import LookalikeError, NotFound, WorkerLost, kind_of, os_errors_as
from retrieval.files import flush, make_folder, write_atomically
from retrieval.listing import LabelFrom
from retrieval.listing_options import ListingOptions
from retrieval.listing_report import ListingReport, SkippedReason
from retrieval.photo_ref import display, file_uri, is_url
from retrieval.settings import Settings
from retrieval.stores import Failure
from retrieval.wording import count_of

Kind = Literal["index", "map", "review", "activate", "train"]
State = Literal["running", "done", "failed", "interrupted", "cancelled"]
SAVED_EVERY_SECONDS = 1.0
RECORD = "job.json"
FAILURES = "failures.jsonl"
RUNNING = "running"  # a file that is locked by the process that runs the job
CANCEL = "cancel"  # a file that exists once the job is to be cancelled
SHOWN_FAILURES = 10
FAILURE = TypeAdapter(Failure)
JOB_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


class TrainingOptions(BaseModel):
    """How a model is trained on the photos of the index."""

    model_config = ConfigDict(frozen=True, json_schema_serialization_defaults_required=True)

    recipe: str = Field("default", description="as `lookalike recipes` lists them")
    backbone: str | None = Field(None, description="as `lookalike backbones` lists them; null: the default one")
    seed: int = 0
    epochs: int | None = Field(None, description="the maximum number; null: that of the recipe")
    changes: list[str] = Field([], description="changed settings of the recipe, each as SETTING=VALUE")


class TrainingProgress(BaseModel):
    """How far a training is."""

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    epoch: int = Field(description="the current one; 0 while only the new layers are trained")
    epochs: int = Field(description="the maximum number; a training may stop earlier")
    step: int = Field(description="completed steps of all epochs")
    steps: int = Field(description="steps of all epochs")
    map_at_r: float | None = Field(None, description="on the validation photos, after the last epoch")


class Comparison(BaseModel):
    """A new model and the current one on the same labelled photos, those that both indexes have."""

    after: IndexEvaluation = Field(description="of the new model")
    before: IndexEvaluation | None = Field(None, description="of the current model; null: it has no such photos")
    held_out: bool = Field(description="whether neither model was trained or selected on the query photos")


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """What a job is to do.

    Only requests of the operator may name URLs: a client of the web server must not make it fetch URLs.
    """

    sources: Sequence[str]  # folders and manifests; URLs if `urls` allows them
    bundle: Path | None = None  # the model bundle; None for `LOOKALIKE_BUNDLE` or the current model's
    label_from: LabelFrom | None = None  # where labels come from; None to decide by the kind of source
    sync: bool = False  # also remove the points of these sources whose photo is gone
    include_hidden: bool = False  # also index hidden files and folders
    exclude: Sequence[str] = ()  # gitignore patterns of files and folders to skip
    relabel: bool = False  # whether labels from folder names replace those in the index
    allow_removing: str | None = None  # how many photos of a source `sync` may remove: a number, or "20%"
    urls: bool = False  # whether sources, and manifests, may name URLs
    retry_of: str | None = None  # a job, to index only the photos that failed in it; None for all photos
    kind: Kind = "index"  # the others need no sources: `indexer.map`, `.review.job`, `.activation`, `.training`
    max_loss: float = 0.05  # of MAP@R, that activating a model may cost
    columns: Sequence[str] = ()  # the kinds of columns that a person chose, each as NAME:KIND
    started_by: str | None = None  # the name of the key with which it was started; None on the command line
    pretrained: bool = False  # if there is no model, make one of the installed network first (`indexer.first_model`)
    training: TrainingOptions | None = None  # of the kind "train" (`indexer.training`)

    def listing_options(self, home: Path) -> ListingOptions:
        """How the sources are listed; never the home."""
        return ListingOptions(self.include_hidden, tuple(self.exclude), home, self.relabel)


class Job(BaseModel):
    """A job's request, state and counts; times are ISO 8601 in UTC, `seconds` excludes the cross-check.

    A source whose path is not printable is recorded as its `file://` URI.
    """

    model_config = ConfigDict(json_schema_serialization_defaults_required=True)

    id: str
    kind: Kind = "index"
    sources: list[str]
    label_from: LabelFrom | None = None
    sync: bool = False
    include_hidden: bool = False
    exclude: list[str] = []
    relabel: bool = False
    allow_removing: str | None = Field(None, description="how many photos of a source `sync` may remove")
    urls: bool = False
    retry_of: str | None = None
    started_by: str | None = Field(None, description="name of the key with which it was started over HTTP")
    columns: list[str] = Field([], description="the kinds of columns that were chosen for it, each as NAME:KIND")
    pretrained: bool = Field(False, description="whether it makes a model of the installed network if there is none")
    training: TrainingOptions | None = Field(None, description="of a job that trains a model")
    progress: TrainingProgress | None = Field(None, description="of the training; null before its first step")
    comparison: Comparison | None = Field(None, description="of the trained model; null until its photos are indexed")
    model: str = Field(description="its model; empty while it is being made")
    state: State = "running"
    error: str | None = None
    error_type: str | None = Field(None, description="kind of the error, as the last part of a problem's type")
    started_at: str
    seen: int = 0
    indexed: int = 0
    unchanged: int = 0
    moved: int = Field(0, description="photos that were found in another place; they keep their ids")
    removed: int = 0
    removal_refused: list[RefusedRemoval] = Field([], description="sources from which too much seems to be gone")
    failed: int = 0
    skipped: int = Field(0, description="number of files in the folders that are not indexed; `seen` excludes them")
    skipped_reasons: list[SkippedReason] = Field([], description="grouped by reason")
    notices: list[str] = Field([], description="what was noticed about labels and splits, in sentences")
    column_kinds: dict[str, ColumnKind] = Field(
        {}, description="the columns of its manifests, and the kind with which each is indexed"
    )
    slowed_by: str | None = Field(None, description="what has slowed the job down, if anything")
    step: str | None = Field(None, description="what it does before it reads photos, in words")
    seconds: float = 0.0

    @computed_field  # type: ignore[prop-decorator]  # mypy does not support decorated properties
    @property
    def images_per_second(self) -> float:
        """Photos seen per second, 0 before the first."""
        return round(self.seen / self.seconds, 3) if self.seconds else 0.0


def list_jobs(settings: Settings, offset: int = 0, limit: int | None = None) -> list[Job]:
    """Return the jobs, newest first, at most `limit` after the first `offset`; damaged records are skipped.

    Only the records of this page are read: an id starts with the time, so the names of the folders are the index.
    """
    end = None if limit is None else offset + limit
    jobs = (_read(settings.jobs_folder / name) for name in _ids(settings.jobs_folder)[offset:end])
    return [job for job in jobs if job is not None]


def count_jobs(settings: Settings) -> int:
    """Return the number of jobs, including damaged records."""
    return len(_ids(settings.jobs_folder))


def load_job(settings: Settings, job_id: str) -> Job:
    """Return a job; its state is "interrupted", with the counts saved last, if its process was killed.

    Raises `NotFound` if there is no such job.
    """
    job = _read(settings.jobs_folder / job_id) if JOB_ID.fullmatch(job_id) else None
    if job is None:
        raise NotFound(f"There is no job {job_id}.", "`lookalike jobs list` shows all jobs.")
    return job


def read_failures(settings: Settings, job_id: str, offset: int = 0, limit: int | None = None) -> list[Failure]:
    """Return a job's failed photos in the order in which they failed, at most `limit` after the first `offset`.

    A last line without line break is skipped: it is being written, or the job was killed or the disk was full then.
    Damaged lines are skipped, too: a power failure may leave some.
    Raises `NotFound` if there is no such job.
    """
    load_job(settings, job_id)
    end = None if limit is None else offset + limit
    try:
        with (settings.jobs_folder / job_id / FAILURES).open(encoding="utf-8", errors="replace") as file:
            failures = map(_failure, islice(file, offset, end))
            return [failure for failure in failures if failure is not None]
    except FileNotFoundError:
        return []


def cancel_job(settings: Settings, job_id: str) -> Job:
    """Request that a job stops after the current batch, whichever process runs it; return its present state.

    A job that has ended does not change.

    Raises:
        NotFound: there is no such job.
        LookalikeError: the request can't be written.
    """
    job = load_job(settings, job_id)
    if job.state == "running":
        with _writing(marker := settings.jobs_folder / job_id / CANCEL):
            marker.touch()
    return job


def start_record(settings: Settings, request: IndexRequest, model: str) -> "JobRecord":
    """Return the record of a new job; delete the oldest records above `LOOKALIKE_KEEP_JOBS`, except of running jobs.

    Raises `LookalikeError` if the record can't be written.
    """
    record = JobRecord(settings.jobs_folder, request, model)
    for name in _ids(settings.jobs_folder)[settings.keep_jobs :]:
        folder = settings.jobs_folder / name
        if not _is_locked(folder / RUNNING):
            shutil.rmtree(folder, ignore_errors=True)
    return record


def run_recorded(
    settings: Settings,
    request: IndexRequest,
    model: str,
    on_progress: Callable[[Job], None],
    work: Callable[["JobRecord"], bool],
) -> None:
    """Do the work of a job, which returns whether it was completed, and record how the job ended.

    Raises what the work raises, after it was recorded, and `LookalikeError` if the record can't be written.
    """
    record = start_record(settings, request, model)
    with record.ended_by_errors():
        on_progress(record.job)
        complete = work(record)
    record.end("done" if complete else record.stopped_state())


class JobRecord:
    """Writes the record of a running job: `job.json`, replaced atomically, and `failures.jsonl`, one line per photo.

    The process that runs the job holds a lock on a file in the record's folder. The operating system releases it when
    the process ends, even if it is killed, so the lock shows whether the job is running.
    Raises `LookalikeError` if the record can't be written.
    """

    def __init__(self, jobs_folder: Path, request: IndexRequest, model: str) -> None:
        now = datetime.now(UTC)
        self.job = Job(
            id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
            **asdict(request) | {"sources": [_recorded(source) for source in request.sources]},
            model=model,
            started_at=now.isoformat(timespec="seconds"),
        )
        self.folder = jobs_folder / self.job.id
        self.first_failures: list[Failure] = []
        self._labels_kept = self._ignored_profiles = 0
        self._start = self._saved = time.monotonic()
        with _writing(self.folder):
            make_folder(jobs_folder)
            self.folder.mkdir()
            flush(jobs_folder)
            self._lock = (self.folder / RUNNING).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._save()

    @property
    def failures(self) -> Path:
        """The file of failed photos; it exists if there are any."""
        return self.folder / FAILURES

    def set_step(self, step: str) -> None:
        """Set what the job does before it reads photos."""
        is_new, self.job.step = step != self.job.step, step
        self.set_seconds()
        if is_new or time.monotonic() - self._saved >= SAVED_EVERY_SECONDS:
            self._save()

    def set_model(self, model: str) -> None:
        """Set the model of a job that made one, and begin to measure how long indexing takes."""
        self.job.model, self.job.step = model, None
        self._start = time.monotonic()
        self._save()

    def count(self, result: BatchResult) -> None:
        """Add the counts of a batch."""
        self.job.seen += result.seen
        self.job.indexed += result.indexed
        self.job.unchanged += result.unchanged
        self.job.moved += result.moved
        self.job.failed += len(result.failures)
        self._labels_kept += result.labels_kept
        self._ignored_profiles += result.ignored_profiles
        self.job.slowed_by = result.slowed_by or self.job.slowed_by
        self.job.column_kinds |= result.columns
        self.set_seconds()
        self._append(result.failures)
        if time.monotonic() - self._saved >= SAVED_EVERY_SECONDS:
            self._save()

    def count_skipped(self, report: ListingReport) -> None:
        """Set what the listing has skipped and noticed so far."""
        self.job.skipped = report.skipped
        self.job.skipped_reasons = [replace(reason) for reason in report.skipped_reasons]
        self.job.notices = report.notices + report.missing_labels
        kinds = self.job.column_kinds
        self.job.notices += report.columns.notices(kinds)
        unknown = {column.rpartition(":")[0] for column in self.job.columns} - {*kinds, PLACE}
        if unknown:
            self.job.notices.append(f"No photo that was listed has a column {', '.join(sorted(unknown))}.")
        if self._ignored_profiles:
            self.job.notices.append(
                f"{count_of(self._ignored_profiles)} with a colour profile that is damaged or for other photos; it is "
                "ignored. `lookalike check` shows an example."
            )
        if self._labels_kept:
            self.job.notices.append(
                f"{count_of(self._labels_kept)} kept the label in the index, which differs from the name of the "
                "folder. To use the names of the folders as labels, index with --relabel."
            )

    def count_removed(self, removal: Removal) -> None:
        """Set the number of removed photos, and from which sources none were removed; `seconds` stops there."""
        self.job.removed = removal.removed
        self.job.removal_refused = [replace(one, source=_recorded(one.source)) for one in removal.refused]
        self.set_seconds()
        self._save()

    def set_seconds(self) -> None:
        """Set the duration of the job to the time since its start."""
        self.job.seconds = round(time.monotonic() - self._start, 3)

    def end(self, state: State, error: str | None = None) -> None:
        """Record how the job ended, and release its lock."""
        self.job.state, self.job.error = state, error
        with self._lock:
            self._save()

    def cancellation(self, process: CancellationToken) -> CancellationToken:
        """Return a token that is cancelled by `cancel_job`, and with the given token of this process."""
        return CancellationToken(lambda: process.cancelled or self._cancel_requested())

    def stopped_state(self) -> State:
        """Return the state of a job that was stopped early: "cancelled" by `cancel_job`, otherwise "interrupted"."""
        return "cancelled" if self._cancel_requested() else "interrupted"

    @contextmanager
    def ended_by_errors(self) -> Iterator[None]:
        """Record an exception as the end of the job."""
        try:
            yield
        except BaseException as error:
            if self.job.state != "running":  # recorded by an inner context
                raise
            with suppress(LookalikeError):  # the disk that caused the error may be the record's
                if isinstance(error, KeyboardInterrupt):
                    self.end("interrupted")
                else:
                    self.job.error_type = kind_of(error)
                    state: State = "interrupted" if isinstance(error, WorkerLost) else "failed"
                    self.end(state, str(error) or type(error).__name__)
            raise

    def _cancel_requested(self) -> bool:
        return (self.folder / CANCEL).exists()

    def _append(self, failures: Sequence[Failure]) -> None:
        if not failures:
            return
        self.first_failures += failures[: SHOWN_FAILURES - len(self.first_failures)]
        with _writing(self.failures), self.failures.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(failure), ensure_ascii=False) + "\n" for failure in failures)

    def _save(self) -> None:
        with _writing(self.folder):
            if self.job.failed:
                flush(self.failures)
            write_atomically(self.folder / RECORD, self.job.model_dump_json(indent=2) + "\n")
        self._saved = time.monotonic()


def _recorded(source: str) -> str:
    """Return a source as one printable line: a path that is not printable as its `file://` URI."""
    if source.isprintable():
        return source
    return display(source) if is_url(source) else file_uri(source)


def _failure(line: str) -> Failure | None:
    """Return the failure of a line; None if it is incomplete or damaged."""
    with suppress(ValidationError):
        return FAILURE.validate_json(line) if line.endswith("\n") else None
    return None


def _ids(jobs_folder: Path) -> list[str]:
    """Return the ids of the jobs, newest first."""
    with suppress(FileNotFoundError), os.scandir(jobs_folder) as entries:
        return sorted((entry.name for entry in entries if JOB_ID.fullmatch(entry.name)), reverse=True)
    return []


def _read(folder: Path) -> Job | None:
    """Return the job of a folder; None if its record is missing or damaged."""
    try:
        job = Job.model_validate_json((folder / RECORD).read_bytes())
        if job.state != "running" or _is_locked(folder / RUNNING):
            return job
        ended = Job.model_validate_json((folder / RECORD).read_bytes())  # it may have ended meanwhile
    except (OSError, ValidationError):
        return None
    return ended if ended.state != "running" else ended.model_copy(update={"state": "interrupted"})


def _is_locked(path: Path) -> bool:
    # flock rather than filelock, which tests a lock by taking it: one reader would look like a running job to another.
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _writing(path: Path) -> AbstractContextManager[None]:
    remedy = "Indexed photos are kept. Free disk space or correct the permissions, then run the same command again."
    return os_errors_as(LookalikeError, f"The job's record {path} can't be written", remedy)
