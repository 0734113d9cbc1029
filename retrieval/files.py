"""Durable writes: what these functions wrote survives a killed process and a power failure once they return."""

import ctypes
import errno
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

# Some network file systems can't flush a folder, and have nothing to flush there.
CANNOT_FLUSH = (errno.EINVAL, errno.ENOTSUP)
CANNOT_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
AT_FDCWD = -100  # of Linux
RENAME_EXCHANGE = 2


def write_atomically(path: Path, content: str | bytes, *, durable: bool = True) -> None:
    """Replace a file, text in UTF-8; a reader in another process sees either the old or the new content.

    Args:
        durable: False for a cache: after a power failure, the file may be missing or empty.

    Raises:
        OSError: the file can't be written; it keeps its old content.
    """
    make_folder(path.parent)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)
        if durable:
            flush(temporary)
        temporary.replace(path)
        if durable:
            flush(path.parent)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


@contextmanager
def completed(target: Path) -> Iterator[Path]:
    """Yield a path beside the target; the file that is written there takes its place at the end, if there is no error.

    Raises `OSError` if it can't be written.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


def append_lines(path: Path, lines: bytes) -> None:
    """Add lines to a file, which is created if it is absent; no other process may append meanwhile.

    If the file ends within a line, because a write was interrupted, that line is ended first.

    Raises:
        OSError: the file can't be written; no part of the lines stays.
    """
    make_folder(path.parent)
    is_new = not path.exists()
    with path.open("ab+", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            lines = b"\n" + lines
        try:
            while lines:  # a write may be short
                lines = lines[file.write(lines) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise
    if is_new:
        flush(path.parent)


def make_folder(folder: Path) -> None:
    """Create a folder and its parents, unless they exist."""
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        flush(folder.parent)


def replace_folder(folder: Path, fresh: Path) -> None:
    """Move a folder to the place of another, which is then at `fresh`, for the caller to delete.

    A reader in another process sees either the old or the new folder, if the file system can exchange folders. Several
    processes may replace the same folder at the same time.

    Raises:
        OSError: that failed; the old folder is in its place, or the message says where it is.
    """
    flush_tree(fresh)
    while not (_move(fresh, folder) or _exchange(folder, fresh) or _exchange_in_steps(folder, fresh)):
        pass
    flush(folder.parent)


def flush_tree(folder: Path) -> None:
    """Flush a folder and everything in it to the disk."""
    for parent, _, names in os.walk(folder):
        for name in names:
            flush(Path(parent, name))
        flush(Path(parent))


def flush(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in CANNOT_FLUSH:
            raise
    finally:
        os.close(descriptor)


def _move(source: Path, target: Path) -> bool:
    """Rename a folder; return False if there is one with that name that is not empty."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two folders in one step; return False if the system or the file system can't."""
    with suppress(AttributeError):  # not on Linux, or an old C library
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        if renameat2(AT_FDCWD, os.fsencode(first), AT_FDCWD, os.fsencode(second), RENAME_EXCHANGE) == 0:
            return True
        number = ctypes.get_errno()
        if number not in CANNOT_EXCHANGE:
            raise OSError(number, os.strerror(number), str(first))
    return False


def _exchange_in_steps(folder: Path, fresh: Path) -> bool:
    """Exchange two folders, or put the old one back; return False if another process replaces the same folder."""
    aside = folder.with_name(f".{folder.name}.replaced-{os.getpid()}-{threading.get_ident()}")
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return False
    try:
        moved = _move(fresh, folder)
    except OSError as error:
        try:
            aside.rename(folder)
        except OSError:
            raise OSError(error.errno, f"{error.strerror}; the replaced folder is now {aside}") from None
        raise
    if moved:
        aside.rename(fresh)
    else:
        shutil.rmtree(aside)
    return moved
