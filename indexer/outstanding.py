"""The tasks that a job has sent to workers and that are not finished."""

from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from secrets import token_hex
from time import monotonic

from indexer.celery_app import QUEUE, count_workers, make_app
from indexer.messages import ResultMessage, TaskMessage
from indexer.redis_client import connect, retry
from indexer.result_queue import EXPIRES_SECONDS, ResultQueue
from retrieval.closing import Closing
from retrieval.console import say
from retrieval.errors import LookalikeError
from retrieval.settings import Settings

SILENCE_SECONDS = 10.0  # without any message before it is checked whether workers are running
LOST_SECONDS = 30.0  # without a heartbeat, after which the worker of a task counts as lost
CHECK_SECONDS = 2.0  # between checks for lost tasks


@dataclass(slots=True)
class _Sent:
    """A task, its place in the order of sending, and until when it is known not to be lost (monotonic clock)."""

    message: TaskMessage
    number: int
    known_until: float
    started: bool = False


class OutstandingTasks(Closing):
    """Sends tasks and keeps each until its result message arrives; a task that is lost is sent again.

    Workers take tasks in the order in which they were sent, and report that they have started one, and every few
    seconds that they work on it. A task is lost if its worker is silent, if it has left the queue and no worker reports
    it, or if Redis lost its data: then the mark that each job leaves there is gone, and every task is sent again. A
    task that is sent again may be done twice; the first result counts.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._app = make_app(lambda: settings)
        self._redis = connect(settings)
        self._results = ResultQueue(self._redis, f"lookalike:results:{token_hex(8)}")
        self._mark = f"{self._results.name}:mark"
        self._sent: dict[str, _Sent] = {}
        self._numbers = count()
        self._newest_started = -1  # the number of the newest task that a worker has started
        self._last_message = self._last_check = monotonic()
        self._is_marked = False

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
        if monotonic() - self._last_check >= CHECK_SECONDS:
            self._check()
        if result is None:
            return None
        self._last_message = monotonic()
        sent = self._sent.get(result.task)
        if sent is None:  # the second result of a task that was sent again
            return None
        if result.error is not None:
            raise LookalikeError(result.error, result.remedy)
        sent.started, sent.known_until = True, self._last_message + result.pause
        self._newest_started = max(self._newest_started, sent.number)
        if result.in_progress:
            return None
        return self._sent.pop(result.task).message, result

    def revoke(self) -> None:
        """Revoke every task, so that workers skip those that they have not started."""
        if self._sent:
            with suppress(LookalikeError):
                retry(lambda: self._app.control.revoke(list(self._sent)))
            self._sent.clear()

    def close(self) -> None:
        """Delete the result queue, and close all connections."""
        with suppress(LookalikeError), self._redis, self._app:  # an unreachable Redis lets the queue expire
            retry(lambda: self._redis.delete(self._mark))
            self._results.close()

    def _deliver(self, task: str, message: TaskMessage) -> None:
        options = {"task_id": task, "reply_to": self._results.name, "ignore_result": True}
        retry(lambda: self._app.send_task(message.task_name, [message.content()], **options))
        self._sent[task] = _Sent(message, next(self._numbers), monotonic())

    def _check(self) -> None:
        """Send lost tasks again; warn if tasks wait and no worker is running."""
        has_data, waiting = retry(self._read_state)
        now = self._last_check = monotonic()
        lost_data = self._is_marked and not has_data
        lost = list(self._sent) if lost_data else self._silent(now, bool(waiting))
        if not has_data:
            retry(lambda: self._redis.set(self._mark, 1, ex=EXPIRES_SECONDS))
            self._is_marked = True
        for task in lost:
            self._deliver(task, self._sent[task].message)
        if waiting and now - self._last_message >= SILENCE_SECONDS:
            if not count_workers(self._app):
                say("No worker is running; the job waits. Start one with `lookalike worker`.", "yellow")
            self._last_message = monotonic()

    def _silent(self, now: float, tasks_wait: bool) -> list[str]:
        """Return the tasks of workers that are silent, and those that left the queue without being started."""
        for sent in self._sent.values():
            if tasks_wait and not sent.started and sent.number > self._newest_started:
                sent.known_until = now  # it waits in the queue
        return [task for task, sent in self._sent.items() if sent.known_until < now - LOST_SECONDS]

    def _read_state(self) -> tuple[bool, int]:
        """Return whether Redis has the mark of this job, and how many tasks wait in the queue."""
        with self._redis.pipeline() as pipeline:
            pipeline.expire(self._mark, EXPIRES_SECONDS)
            pipeline.llen(QUEUE)
            has_mark, waiting = pipeline.execute()
        return bool(has_mark), int(waiting)
