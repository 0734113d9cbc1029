"""How commands speak: results on standard output, everything else on standard error."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]

messages = Console(stderr=True)


def say(text: str, style: str | None = None) -> None:
    """Tell a person something on standard error, as it stands: names of files are no markup."""
    messages.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def print_result(result: Mapping[str, Any], as_json: bool, text: RenderableType) -> None:
    """Print a command's result: as one JSON object, or as the text (or rich table) meant for a person."""
    if as_json:
        print(json_line(result))
    else:
        Console(soft_wrap=True).print(text)


def json_line(result: Mapping[str, Any]) -> str:
    """An object as JSON in one line; what is no UTF-8 in a file's name is escaped, as JSON allows."""
    return json.dumps(result, ensure_ascii=False, default=str).encode(errors="backslashreplace").decode()
