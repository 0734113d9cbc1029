"""The command `lookalike`: its subcommands by name, each imported from its package when it runs."""

import sys
from contextlib import suppress
from importlib import import_module
from inspect import getdoc
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup
from typer.main import get_group

from retrieval.console import complete_output, print_result, say
from retrieval.errors import LookalikeError
from retrieval.photo_ref import display

# name: (module and attribute, its line in `lookalike --help`)
COMMANDS = {
    "demo": ("lookalike.demo:demo", "Run every step on sample photos or your own, from training to the search page."),
    "train": ("trainer.cli:train", "Train an embedding on labelled photos and write a model bundle."),
    "recipes": ("trainer.cli:recipes", "List the training recipes."),
    "backbones": ("trainer.cli:backbones", "List the backbones."),
    "import": ("retrieval.importing.cli:import_command", "Make a model bundle of an existing network."),
    "evaluate": ("trainer.cli:evaluate", "Measure the retrieval quality of a bundle."),
    "compare": ("trainer.cli:compare", "Compare the metrics of several bundles in a table and a chart."),
    "check": ("retrieval.check_cli:check", "Check which photos of a folder can be read, and why others can't."),
    "index": ("indexer.cli:index", "Embed photos and add them to the index."),
    "search": ("retrieval.cli:search", "Find photos that look like a given photo."),
    "crosscheck": ("indexer.cli:crosscheck", "Compare the index with exact nearest neighbours."),
    "sources": ("indexer.sources_cli:sources", "List and forget sources of the index, and restore removed photos."),
    "jobs": ("indexer.cli:jobs", "List, inspect, cancel and retry indexing jobs."),
    "models": ("indexer.models_cli:models", "List, activate, roll back and remove models."),
    "duplicates": ("indexer.library_cli:duplicates", "List identical and near-identical photos in the index."),
    "doubtful": ("indexer.library_cli:doubtful", "List photos with a label that their nearest neighbours contradict."),
    "corrections": ("indexer.corrections_cli:corrections", "List, export and import corrected labels and columns."),
    "queues": ("indexer.library_cli:queues", "List photos to review: likely mislabelled, unlabelled, duplicates."),
    "migrate": ("indexer.library_cli:migrate", "Copy the index to a Qdrant server, or back to this machine."),
    "export": ("indexer.export_cli:export", "Write the photos of the index, with their embeddings, to a file."),
    "import-vectors": ("indexer.export_cli:import_vectors", "Add the photos of an exported file to an index."),
    "serve": ("web.cli:serve", "Serve the search page and the JSON API."),
    "worker": ("indexer.cli:worker", "Run a worker for distributed indexing jobs, or for trainings."),
    "doctor": ("indexer.cli:doctor", "Check settings, device, bundle, index, servers, disk and versions."),
}


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and summary, and imports one when it runs or is completed."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """See `click.Group.resolve_command`: the command that the arguments name, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and _load(str(command.name)), rest


def main() -> None:
    """Run the command line; exit with 0, with 1 after a message that says what to do, or with 2 for wrong usage."""
    try:
        with complete_output():
            _app()(prog_name="lookalike")
    except LookalikeError as error:
        _fail(error)
    except OSError as error:  # a folder that may not be written, a disk that is full
        place = f"{display(error.filename)} can't be used" if error.filename else "The system refused"
        _fail(LookalikeError(f"{place} ({error.strerror or error}).", "Check permissions and free space."))


def _app() -> typer.Typer:
    app = typer.Typer(
        cls=LazyGroup,
        help="Find photos that look like a given photo.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
    )
    for name, (_, summary) in COMMANDS.items():
        app.command(name, help=summary)(_not_loaded)
    return app


def _not_loaded() -> None:
    """A placeholder for a command that is not loaded, in help and completion."""


def _load(name: str) -> Any:
    """Import a command, and set this process up for it."""
    from retrieval.decoder import configure_pillow  # noqa: PLC0415 - only when a command runs

    configure_pillow()
    place, summary = COMMANDS[name]
    module, _, attribute = place.partition(":")
    command = getattr(import_module(module), attribute)
    app = typer.Typer(add_completion=False)
    if isinstance(command, typer.Typer):
        app.add_typer(command, name=name, help=summary)
    else:
        app.command(name, help=_paragraphs(command))(command)
    return get_group(app).commands[name]


def _paragraphs(command: object) -> str:
    """The docstring of a command, each paragraph as one line, which the help breaks to the width of the terminal."""
    return "\n\n".join(paragraph.replace("\n", " ") for paragraph in (getdoc(command) or "").split("\n\n"))


def _fail(error: LookalikeError) -> NoReturn:
    say(str(error), "red")
    if "--json" in sys.argv:
        with suppress(LookalikeError):  # standard output can't be written
            print_result({"error": error.message, "remedy": error.remedy}, True, "")
    sys.exit(1)
