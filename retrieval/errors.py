"""The errors that are shown to users: each says what is wrong and what to do about it."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager

READ_ONLY = "Its file system is read-only: mount it for writing, or choose a place on a disk that can be written."


class LookalikeError(Exception):
    """An error that the user can fix.

    Args:
        message: one sentence: what is wrong, and where.
        remedy: one sentence: what to do about it; empty if the message suffices.

    `uris` are the photos that the message names, so that their paths can be hidden from readers of a website.
    """

    uris: tuple[str, ...] = ()

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


def kind_of(error: BaseException) -> str:
    """Return the name of a kind of error in problem documents and job records: `index-busy` for `IndexBusy`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "-", type(error).__name__).lower()


class UnreadablePhoto(LookalikeError):
    """A file that is not a photo, or one that is damaged, too large or unavailable."""


class MissingPhoto(UnreadablePhoto):
    """A photo that its store no longer has."""


class BadSource(LookalikeError):
    """A folder or manifest that cannot be listed, or has no photos."""


class BadBundle(LookalikeError):
    """A model bundle that is missing, damaged or of another format version."""


class NotComparable(BadBundle):
    """A model was not activated, since the bundle of the current one is damaged, so that both can't be compared."""


class IndexBusy(LookalikeError):
    """Another process holds the embedded index; `address` is that of its server, None if it is no server."""

    address: str | None = None


class IndexMismatch(LookalikeError):
    """The index does not fit the model."""


class WorseModel(LookalikeError):
    """A model with worse metrics than those of the current one."""


class IndexWriteFailed(LookalikeError):
    """The index could not be written, most likely because the disk is full; its former contents are kept."""


class IndexUnreadable(LookalikeError):
    """The index could not be read: its files are damaged, or belong to another user."""


class IndexUnreachable(LookalikeError):
    """The Qdrant server does not respond or is busy; a retry may succeed."""


class JobRunning(LookalikeError):
    """Another job is running in this process."""


class NotFound(LookalikeError):
    """A photo, label, model or job that does not exist."""


class NoModel(NotFound):
    """No model is named and none is the current one, or no photos have been indexed with it yet."""


class PhotoChanged(LookalikeError):
    """A photo that somebody else changed meanwhile, so that a change was refused."""


class TrainingUnavailable(LookalikeError):
    """Training was asked for where TensorFlow is not installed, and no worker can train."""


class WorkerLost(LookalikeError):
    """A job was interrupted because the worker of its task is silent."""


class BadQuery(LookalikeError):
    """A search with invalid parameters."""


@contextmanager
def os_errors_as(kind: type[LookalikeError], trouble: str, remedy: str) -> Iterator[None]:
    """Within the context, raise an error of the system as one of this kind: the trouble with its reason, the remedy.

    On a read-only file system, the remedy is another one.
    """
    try:
        yield
    except OSError as error:
        raise kind(f"{trouble} ({error.strerror}).", READ_ONLY if error.errno == errno.EROFS else remedy) from None


def first_line(error: Exception) -> str:
    """Return the first line of an error's message, without hints and stack trace; its class if it has no message."""
    return str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
