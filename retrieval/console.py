"""Output of commands: results on standard output, messages and progress on standard error.

Text that the encoding of a stream lacks is escaped. In a file or pipe, a table has one line per row, however long.
"""

import errno
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table

from retrieval.errors import LookalikeError

JsonFlag = Annotated[bool, typer.Option("--json", help="Print only the result, as one JSON object.")]
IncludeHidden = Annotated[
    bool, typer.Option("--include-hidden", help="Also list files and folders with names that start with a dot.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Skip what matches this .gitignore pattern; repeat for several."),
]

LONGEST_LINE = 100_000  # characters

messages = Console(stderr=True)


def say(text: str, style: str | None = None) -> None:
    """Print a message on standard error; file names in it are not interpreted as markup."""
    with suppress(OSError):  # standard error is closed or full
        messages.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_result(result: Mapping[str, Any], as_json: bool, text: RenderableType) -> None:
    """Print the result of a command: as one JSON object, or as text or a rich table.

    Columns that must not wrap, such as ids and paths, are not cut either.

    Raises:
        LookalikeError: standard output can't be written, for example to a full disk.
    """
    with _writing():
        if as_json:
            print(json_line(result))
        else:
            _print(text)


def json_line(result: Mapping[str, Any]) -> str:
    """Return an object as one line of JSON; bytes of file names that are not UTF-8 are escaped."""
    return json.dumps(result, ensure_ascii=False, default=_jsonable).encode(errors="backslashreplace").decode()


@contextmanager
def complete_output() -> Iterator[None]:
    """Escape what standard output and error can't encode, and write all output before the process ends.

    Raises as `print_result`.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        yield
    finally:
        with _writing():
            pass


@contextmanager
def _writing() -> Iterator[None]:
    """Flush standard output after the context; end the process quietly if the reader of the output has ended."""
    try:
        yield
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the interpreter flushes it again when it ends
        if error.errno == errno.EPIPE:
            sys.exit(1)
        raise LookalikeError(f"The output can't be written ({error.strerror}).") from None


def _print(text: RenderableType) -> None:
    console = Console(soft_wrap=True)
    text = text if console.is_terminal else _one_line_per_row(text)
    measured = Measurement.get(console, console.options.update(max_width=LONGEST_LINE), text)
    needed = measured.minimum if console.is_terminal else measured.maximum
    console.width = max(console.width, needed)
    console.print(text)


def _one_line_per_row(text: RenderableType) -> RenderableType:
    """Return a table with the lines of each cell joined; anything else as it is."""
    if isinstance(text, Group):
        return Group(*map(_one_line_per_row, text.renderables))
    if not isinstance(text, Table):
        return text
    headings = [str(column.header).replace("\n", " ") for column in text.columns]
    joined = Table(*headings, title=text.title, title_justify="left", box=None, show_header=text.show_header)
    for cells in zip(*(column.cells for column in text.columns), strict=True):
        joined.add_row(*(str(cell).replace("\n", " ") for cell in cells))
    return joined


def _jsonable(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
