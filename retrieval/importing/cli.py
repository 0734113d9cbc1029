"""`lookalike import`."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Table

from retrieval.console import JsonFlag, print_result, say
from retrieval.errors import LookalikeError
from retrieval.images import Interpolation
from retrieval.importing.preprocessing import Layout, Pool, Resize

if TYPE_CHECKING:
    from retrieval.importing.importer import Imported


def import_command(  # noqa: PLR0917 - a command line is all options
    source: Annotated[
        str,
        typer.Argument(
            help="An ONNX file, a folder with one, hf:OWNER/NAME or hf:OWNER/NAME@REVISION.", metavar="SOURCE"
        ),
    ],
    out: Annotated[Path, typer.Option(help="The folder of the bundle.")],
    size: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Side of the input, in pixels. Default of all options: as in the source, or guessed.",
        ),
    ] = None,
    shorter_side: Annotated[
        int | None, typer.Option(min=1, help="Length of the shorter side before cropping. Default: the size.")
    ] = None,
    mean: Annotated[
        str | None,
        typer.Option(metavar="R,G,B", help="Mean that is subtracted from pixels from 0 to 1; one number or three."),
    ] = None,
    std: Annotated[
        str | None, typer.Option(metavar="R,G,B", help="Standard deviation by which they are then divided.")
    ] = None,
    resize: Annotated[
        Resize | None, typer.Option(help="Crop the longer side, ignore the proportions, or pad the shorter side.")
    ] = None,
    interpolation: Annotated[Interpolation | None, typer.Option(help="The filter of resizing.")] = None,
    layout: Annotated[Layout | None, typer.Option(help="The order of the axes of the input.")] = None,
    output: Annotated[str | None, typer.Option(metavar="NAME", help="The tensor that is the embedding.")] = None,
    pool: Annotated[
        Pool | None, typer.Option(help="Of an output with several vectors: the first one, or their mean.")
    ] = None,
    as_json: JsonFlag = False,
) -> None:
    """Make a model bundle of an existing network. Settings that are not given are guessed, and reported."""
    try:
        from retrieval.importing.importer import Options, as_json_object, import_network  # noqa: PLC0415 - an extra
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise LookalikeError("Importing a network needs the package onnx.", "Install lookalike[import].") from None
    options = Options(
        size=size,
        shorter_side=shorter_side,
        resize=resize,
        interpolation=interpolation,
        mean=_colours("--mean", mean),
        std=_colours("--std", std),
        layout=layout,
        output=output,
        pool=pool,
    )
    imported = import_network(source, out, options, say)
    print_result(as_json_object(imported), as_json, _table(imported))


def _colours(option: str, text: str | None) -> tuple[float, float, float] | None:
    """The numbers for red, green and blue, or one for all of them; raises `typer.BadParameter`."""
    if text is None:
        return None
    try:
        numbers = [float(number) for number in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3) or not all(map(math.isfinite, numbers)):
        raise typer.BadParameter(f"{text} is not one number or three, separated by commas", param_hint=option)
    red, green, blue = numbers * 3 if len(numbers) == 1 else numbers
    return red, green, blue


def _table(imported: "Imported") -> Group:
    table = Table("setting", "value", "from", box=None, header_style="bold")
    for choice in imported.choices:
        table.add_row(choice.name, escape(choice.value), choice.by)
    manifest = imported.bundle.manifest
    text = [
        f"{manifest.model_id}: {manifest.dimension} dimensions, written to {imported.bundle.folder}.",
        f"Its embeddings agree with the network's: the lowest cosine is {imported.parity.min_cosine:.6f}.",
        f"Of a large JPEG, which is decoded at reduced size, the cosine is {imported.reduced_jpeg:.4f}.",
    ]
    if imported.one_by_one:
        text.append("The network takes one photo at a time, which is slower with an accelerator.")
    if imported.text is not None:
        text.append("It has a text network, so that photos can be searched by words.")
    if manifest.origin is not None and manifest.origin.licence:
        text.append(f"Licence: {manifest.origin.licence}.")
    return Group(table, "", escape("\n".join(text)))
