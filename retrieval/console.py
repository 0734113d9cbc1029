"""Output of commands: results on standard output, messages and progress on standard error."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from pydantic import BaseModel
from rich.console import Console, RenderableType

IncludeHidden = Annotated[
    bool, typer.Option("--include-hidden", help="Also list files and folders with names that start with a dot.")
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="PATTERN", help="Skip what matches this .gitignore pattern; repeat for several."),
]
JsonFlag = Annotated[bool, typer.Option("--json", help="Print only the result, as one JSON object.")]

messages = Console(stderr=True)


def say(text: str, style: str | None = None) -> None:
    """Print a message on standard error; file names in it are not interpreted as markup."""
    messages.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_result(result: Mapping[str, Any], as_json: bool, text: RenderableType) -> None:
    """Print the result of a command: as one JSON object, or as text or a rich table."""
    if as_json:
        print(json_line(result))
    else:
        Console(soft_wrap=True).print(text)


def json_line(result: Mapping[str, Any]) -> str:
    """Return an object as one line of JSON; bytes of file names that are not UTF-8 are escaped."""
    return json.dumps(result, ensure_ascii=False, default=_jsonable).encode(errors="backslashreplace").decode()


def _jsonable(value: object) -> object:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
