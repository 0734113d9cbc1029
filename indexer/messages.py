"""The messages between a job and its workers: JSON objects of one version, validated when they are received."""

from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from indexer.batch import BatchResult
from indexer.crosscheck import CrossCheck
from indexer.index_columns import JobColumns
from indexer.jobs import JOB_ID, TrainingOptions
from indexer.removal import Removal, RemovalLimits
from indexer.source_record import SourceRecord
from retrieval.errors import LookalikeError
from retrieval.photo_ref import PhotoRef

MESSAGE_VERSION: Literal[5] = 5
HEARTBEAT_SECONDS = 5.0  # between the messages of a worker on a task that it works on
MAX_CRASHES = 3  # of workers, before a batch is not tried again


class TaskMessage(BaseModel):
    """The argument of a task; `version` is that of the sender."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    task_name: ClassVar[str]

    version: Literal[5] = MESSAGE_VERSION
    model: str

    @classmethod
    def received(cls, content: object) -> Self:
        """Validate a received message; raise `LookalikeError` if it is damaged or of another version."""
        version = content.get("version") if isinstance(content, dict) else None
        if version != MESSAGE_VERSION:
            raise LookalikeError(
                f"The worker received a message of version {version}; it understands version {MESSAGE_VERSION}.",
                "Run the same version of Lookalike everywhere.",
            )
        try:
            return cls.model_validate(content)
        except ValidationError as error:
            raise LookalikeError(
                f"The worker received a damaged message ({error.errors()[0]['msg']}).",
                "Run the same version of Lookalike everywhere.",
            ) from None

    def content(self) -> dict[str, Any]:
        """Return the message as JSON types, without default values."""
        return {"version": self.version, **self.model_dump(exclude_defaults=True)}


class BatchMessage(TaskMessage):
    """Index a batch of photos; `time` identifies the batch, see `indexer.batch`."""

    task_name = "lookalike.index_batch"

    photos: list[PhotoRef]
    time: str
    columns: JobColumns = JobColumns()

    def halves(self) -> list[Self]:
        """The message in two, of the same time."""
        middle = len(self.photos) // 2
        return [self.model_copy(update={"photos": part}) for part in (self.photos[:middle], self.photos[middle:])]


class RemovalMessage(TaskMessage):
    """Remove the points of these sources whose photo is gone; see `indexer.removal.remove_gone`."""

    task_name = "lookalike.remove_gone"

    sources: list[str]
    urls: bool
    include_hidden: bool = False
    exclude: list[str] = []
    limits: RemovalLimits


class SourcesMessage(TaskMessage):
    """Save what sources are, by their URI; see `indexer.source_record`."""

    task_name = "lookalike.record_sources"

    records: dict[str, SourceRecord]
    keep_mounts: bool


class CrossCheckMessage(TaskMessage):
    """Cross-check the index."""

    task_name = "lookalike.cross_check"


class TrainMessage(TaskMessage):
    """Train on the photos of the index for a job, in the queue of trainings; `model` is the current one."""

    task_name = "lookalike.train"

    job: str = Field(pattern=JOB_ID.pattern)
    training: TrainingOptions


class ResultMessage(BaseModel):
    """What a worker reports about a task.

    A job and a worker of different versions understand `task`, `error` and `remedy` of each other.
    """

    task: str
    in_progress: bool = False  # the worker is still working on it; more messages will follow
    step: str = ""  # what a training does, in words; empty if that has not changed
    pause: float = 0.0  # seconds after which the worker tries it again; until then, no message follows
    error: str | None = None  # why the task failed for good; None if it did not
    remedy: str = ""
    crashed: bool = False  # the batch was not tried again, because it has crashed `MAX_CRASHES` workers
    batch: BatchResult = BatchResult()
    removal: Removal = Removal()
    cross_check: CrossCheck | None = None  # the result of the cross-check; None if the index is empty
    slowed_by: str | None = None  # what slowed a task down that is not a batch; see `BatchExecutor.slowed_by`
