"""The tasks that a job has sent to workers and that are not finished."""

from contextlib import suppress
from dataclasses import dataclass
from secrets import token_hex
from time import monotonic

from indexer.celery_app import QUEUE, count_workers, make_app
from indexer.messages import ResultMessage, TaskMessage
from indexer.redis_client import connect, retry
from indexer.result_queue import ResultQueue
from retrieval.closing import Closing
from retrieval.console import say
from retrieval.errors import LookalikeError
from retrieval.settings import Settings

SILENCE_SECONDS = 10.0  # without any message before the queue and the workers are checked


@dataclass(slots=True)
class _Sent:
    """A task and when it was sent or last reported on, by the monotonic clock."""

    message: TaskMessage
    last_seen: float


class OutstandingTasks(Closing):
    """Sends tasks and keeps each until its result message arrives; a task that is lost is sent again.

    A task is lost if Redis lost its data or the result message, and counts as lost when it is silent for the redelivery
    time of the settings; it may then be done twice. The first result counts.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app = make_app(lambda: settings)
        self._redis = connect(settings)
        self._results = ResultQueue(self._redis, f"lookalike:results:{token_hex(8)}")
        self._sent: dict[str, _Sent] = {}
        self._last_message = monotonic()

    def __len__(self) -> int:
        return len(self._sent)

    def send(self, message: TaskMessage) -> None:
        """Send a task to the workers."""
        self._deliver(token_hex(16), message)

    def next_result(self, seconds: float) -> tuple[TaskMessage, ResultMessage] | None:
        """Return a finished task with its result; None if none finishes in the given time.

        Raises `LookalikeError` if a task failed for good; its worker says why.
        """
        result = self._results.take(seconds)
        if result is None:
            self._check_after_silence()
            return None
        self._last_message = monotonic()
        if result.task not in self._sent:  # the second result of a task that was sent again
            return None
        if result.error is not None:
            raise LookalikeError(result.error, result.remedy)
        if result.in_progress:
            self._sent[result.task].last_seen = self._last_message
            return None
        return self._sent.pop(result.task).message, result

    def revoke(self) -> None:
        """Take back every task, so that workers skip those that they have not started."""
        if self._sent:
            with suppress(LookalikeError):
                retry(lambda: self._app.control.revoke(list(self._sent)))
            self._sent.clear()

    def close(self) -> None:
        """Delete the result queue, and close all connections."""
        with suppress(LookalikeError), self._redis, self._app:  # an unreachable Redis lets the queue expire
            self._results.close()

    def _deliver(self, task: str, message: TaskMessage) -> None:
        options = {"task_id": task, "reply_to": self._results.name, "ignore_result": True}
        retry(lambda: self._app.send_task(message.task_name, [message.content()], **options))
        self._sent[task] = _Sent(message, monotonic())

    def _check_after_silence(self) -> None:
        """Send lost tasks again, those long silent while no task waits in the queue; warn if no worker is running."""
        if monotonic() - self._last_message < SILENCE_SECONDS:
            return
        lost = monotonic() - self._settings.redelivery_seconds
        silent = [(task, sent.message) for task, sent in self._sent.items() if sent.last_seen < lost]
        waiting = retry(lambda: self._redis.llen(QUEUE))
        if not waiting:
            for task, message in silent:
                self._deliver(task, message)
        elif not count_workers(self._app):
            say("No worker is running; the job waits. Start one with `lookalike worker`.", "yellow")
        self._last_message = monotonic()
