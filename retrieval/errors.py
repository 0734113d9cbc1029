"""What can go wrong, said so that a person knows what to do next."""


class LookalikeError(Exception):
    """A failure that the user can mend.

    Args:
        message: one sentence: what is wrong, and where.
        remedy: one sentence: what to do about it; empty where the message says it all.
    """

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class UnreadablePhoto(LookalikeError):
    """A file that is no photo, or one that is damaged, too large or out of reach."""


class MissingPhoto(UnreadablePhoto):
    """A photo that its store no longer has."""


class BadSource(LookalikeError):
    """A folder or manifest that cannot be listed, or holds no photo."""


class BadBundle(LookalikeError):
    """A model bundle that is missing, damaged or of another format version."""


class IndexBusy(LookalikeError):
    """The embedded index is held by another process."""


class IndexMismatch(LookalikeError):
    """The index and the model do not belong together."""


class WorseModel(LookalikeError):
    """A model that finds less than the one that it shall replace."""


class IndexWriteFailed(LookalikeError):
    """The index could not be written, for want of disk space most likely; what it held before stays."""


class IndexUnreadable(LookalikeError):
    """The index could not be read: its files are damaged, or not this user's."""


class IndexUnreachable(LookalikeError):
    """The server that holds the index does not answer, or not now; another attempt may mend it."""


class JobRunning(LookalikeError):
    """An indexing job runs in this process already."""


class NotFound(LookalikeError):
    """A photo, label, model or job that is not there."""


class BadQuery(LookalikeError):
    """A search whose options make no sense."""
