"""How commands speak: results on standard output, everything else on standard error."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console, RenderableType

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output, and nothing else.")]

messages = Console(stderr=True)


def print_result(result: Mapping[str, Any], as_json: bool, text: RenderableType) -> None:
    """Print a command's result: as one JSON object, or as the text (or rich table) meant for a person."""
    if as_json:
        print(json.dumps(result, ensure_ascii=False, default=str))
    else:
        Console(soft_wrap=True).print(text)
