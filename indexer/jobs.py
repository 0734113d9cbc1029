"""Indexing jobs: what each was asked and has done so far, kept on disk so that any process can follow and stop it.

For the command line and the web: `list_jobs`, `load_job`, `read_failures`, `cancel_job`; with `indexer.runner`'s
`run_job` (here and now), `BackgroundJobs` (on a thread of this process) and `retry_request` (what failed in a job, as
the request of a new one).
"""

import fcntl
import json
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ValidationError, computed_field

from indexer.batch import BatchResult, Failure
from retrieval.cancellation import CancellationToken
from retrieval.errors import LookalikeError, NotFound
from retrieval.files import write_atomically
from retrieval.listing import LabelFrom
from retrieval.photo_ref import display, file_uri, is_url
from retrieval.settings import Settings

Kind = Literal["index", "map"]
State = Literal["running", "done", "failed", "interrupted", "cancelled"]
SAVED_EVERY_SECONDS = 1.0
RECORD = "job.json"
FAILURES = "failures.jsonl"
RUNNING = "running"  # locked by the process that runs the job
CANCEL = "cancel"  # there once somebody asked for the job's end
JOB_ID = re.compile(r"\d{8}-\d{6}-[0-9a-f]{6}")


@dataclass(frozen=True, slots=True)
class IndexRequest:
    """What to index.

    Args:
        sources: folders and manifests; URLs where `urls` allows them.
        bundle: the model bundle; None: `LOOKALIKE_BUNDLE` or the current model's.
        label_from: where labels come from; None: by the kind of source.
        sync: also remove the points of these sources whose photo is gone.
        urls: whether sources, and the manifests among them, may name URLs. For the operator alone: what a client of
            the web names must never make this machine fetch anything.
        retry_of: the job whose failed photos alone are taken up; None: all photos.
        kind: whether to index, or to compute the map of the model's index (`indexer.map`), which has no sources.
    """

    sources: Sequence[str]
    bundle: Path | None = None
    label_from: LabelFrom | None = None
    sync: bool = False
    urls: bool = False
    retry_of: str | None = None
    kind: Kind = "index"


class Job(BaseModel):
    """What is known of a job; times are ISO 8601 in UTC, `seconds` without the cross-check.

    A source whose path is no printable text is named by its `file://` URI.
    """

    id: str
    kind: Kind = "index"
    sources: list[str]
    label_from: LabelFrom | None = None
    sync: bool = False
    urls: bool = False
    retry_of: str | None = None
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


def list_jobs(settings: Settings) -> list[Job]:
    """The jobs of this place, the newest first; a record that is damaged is passed over."""
    folders = [path.parent for path in settings.jobs_folder.glob(f"*/{RECORD}")]
    jobs = [_read(folder) for folder in sorted(folders, key=lambda folder: folder.name, reverse=True)]
    return [job for job in jobs if job is not None]


def load_job(settings: Settings, job_id: str) -> Job:
    """A job as it stands; one whose process was killed is "interrupted", with the counts that it saved last.

    Raises:
        NotFound: there is none of this id.
    """
    job = _read(settings.jobs_folder / job_id) if JOB_ID.fullmatch(job_id) else None
    if job is None:
        raise NotFound(f"There is no job {job_id}.", "`lookalike jobs list` shows those there are.")
    return job


def read_failures(settings: Settings, job_id: str, offset: int = 0, limit: int | None = None) -> list[Failure]:
    """A job's failed photos, in the order in which they failed.

    A line without its end is being written, or was when the job was killed or the disk was full; it does not count.

    Args:
        settings: the settings.
        job_id: the job.
        offset: how many to pass over.
        limit: how many at most; None: all.

    Raises:
        NotFound: there is no such job.
    """
    load_job(settings, job_id)
    end = None if limit is None else offset + limit
    try:
        with (settings.jobs_folder / job_id / FAILURES).open(encoding="utf-8") as file:
            return [Failure(**json.loads(line)) for line in islice(file, offset, end) if line.endswith("\n")]
    except FileNotFoundError:
        return []


def cancel_job(settings: Settings, job_id: str) -> Job:
    """Ask a job to end after the batch at hand, whichever process runs it; returns it as it stands.

    A job that has ended stays as it is.

    Raises:
        NotFound: there is no such job.
        LookalikeError: the request can't be written.
    """
    job = load_job(settings, job_id)
    if job.state == "running":
        marker = settings.jobs_folder / job_id / CANCEL
        try:
            marker.touch()
        except OSError as error:
            raise _not_written(marker, error) from None
    return job


class JobRecord:
    """A running job and its folder: `job.json`, replaced atomically, and `failures.jsonl`, one failed photo a line.

    The process that runs the job holds a lock on a file of that folder, which the system frees when the process ends,
    however it ends. So nobody takes a killed job for a running one, whatever the clocks and process numbers say.

    Args:
        jobs_folder: where the records of all jobs lie.
        request: what is indexed.
        model: the model's id.

    Raises:
        LookalikeError: the record can't be written.
    """

    def __init__(self, jobs_folder: Path, request: IndexRequest, model: str) -> None:
        now = datetime.now(UTC)
        self.job = Job(
            id=f"{now:%Y%m%d-%H%M%S}-{secrets.token_hex(3)}",
            kind=request.kind,
            sources=[_recorded(source) for source in request.sources],
            label_from=request.label_from,
            sync=request.sync,
            urls=request.urls,
            retry_of=request.retry_of,
            model=model,
            started_at=now.isoformat(timespec="seconds"),
        )
        self.folder = jobs_folder / self.job.id
        self.first_failures: list[Failure] = []
        self._start = self._saved = time.monotonic()
        try:
            self.folder.mkdir(parents=True)
            self._lock = (self.folder / RUNNING).open("w")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        except OSError as error:
            raise _not_written(self.folder, error) from None
        self._save()

    @property
    def failures(self) -> Path:
        """The file that lists the failed photos; it exists where there are any."""
        return self.folder / FAILURES

    def count(self, outcome: BatchResult) -> None:
        """Add the outcome of a batch."""
        self.job.seen += outcome.seen
        self.job.indexed += outcome.indexed
        self.job.unchanged += outcome.unchanged
        self.job.failed += len(outcome.failures)
        self.job.seconds = round(time.monotonic() - self._start, 3)
        self._list(outcome.failures)
        if time.monotonic() - self._saved >= SAVED_EVERY_SECONDS:
            self._save()

    def count_removed(self, removed: int) -> None:
        """Say how many photos were removed; the job's clock stops."""
        self.job.removed = removed
        self.job.seconds = round(time.monotonic() - self._start, 3)
        self._save()

    def end(self, state: State, error: str | None = None) -> None:
        """Say how the job ended."""
        self.job.state, self.job.error = state, error
        with self._lock:
            self._save()

    def cancellation(self, process: CancellationToken) -> CancellationToken:
        """A token that is cancelled by `cancel_job` and with the given token of this process."""
        return CancellationToken(lambda: process.cancelled or self._cancel_requested())

    def stopped_state(self) -> State:
        """The state of a job that was stopped early: "cancelled" by `cancel_job`, otherwise "interrupted"."""
        return "cancelled" if self._cancel_requested() else "interrupted"

    @contextmanager
    def ended_by_errors(self) -> Iterator[None]:
        """Whatever ends the job before its time, its record says so."""
        try:
            yield
        except BaseException as error:
            with suppress(LookalikeError):  # the disk that the job failed on may be the record's own
                if isinstance(error, KeyboardInterrupt):
                    self.end("interrupted")
                else:
                    self.end("failed", str(error) or type(error).__name__)
            raise

    def _cancel_requested(self) -> bool:
        return (self.folder / CANCEL).exists()

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
            write_atomically(self.folder / RECORD, self.job.model_dump_json(indent=2) + "\n")
        except OSError as error:
            raise _not_written(self.folder, error) from None
        self._saved = time.monotonic()


def _recorded(source: str) -> str:
    """A source as one printable line; a path that is none, as its `file://` URI, from which it is found again."""
    if source.isprintable():
        return source
    return display(source) if is_url(source) else file_uri(source)


def _read(folder: Path) -> Job | None:
    """The job of a folder; None where there is no record, or a damaged one."""
    try:
        job = Job.model_validate_json((folder / RECORD).read_bytes())
        if job.state != "running" or _is_locked(folder / RUNNING):
            return job
        ended = Job.model_validate_json((folder / RECORD).read_bytes())  # it may have ended between the two looks
    except (OSError, ValidationError):
        return None
    return ended if ended.state != "running" else ended.model_copy(update={"state": "interrupted"})


def _is_locked(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _not_written(path: Path, error: OSError) -> LookalikeError:
    return LookalikeError(
        f"The job's record {path} can't be written ({error.strerror}).",
        "What is indexed is kept. Make room or correct the permissions, then run the same command again.",
    )
