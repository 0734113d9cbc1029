"""The command `lookalike`: mounts each room's subcommands, and imports a room only when its command is called."""

import importlib
import sys
from typing import Any, NoReturn

import typer

from retrieval.console import json_line, say
from retrieval.errors import LookalikeError
from retrieval.photo_ref import display

# name: (where it lives, its line in `lookalike --help`)
COMMANDS = {
    "demo": ("demo:demo", "Train, evaluate, index, cross-check, then serve the page on the result."),
    "train": ("trainer.cli:train", "Learn an embedding from labelled photos and write a model bundle."),
    "recipes": ("trainer.cli:recipes", "List the training recipes."),
    "backbones": ("trainer.cli:backbones", "List the backbones."),
    "evaluate": ("trainer.cli:evaluate", "Measure how well a bundle retrieves."),
    "compare": ("trainer.cli:compare", "Put several bundles into one table and one figure."),
    "index": ("indexer.cli:index", "Embed photos and put them into the index."),
    "search": ("retrieval.cli:search", "Find the photos that look like a photo."),
    "crosscheck": ("indexer.cli:crosscheck", "Compare the index with exact nearest neighbours."),
    "jobs": ("indexer.cli:jobs", "Follow the indexing jobs, end them, and take up what failed."),
    "models": ("indexer.models_cli:models", "List the models, and choose the one that serves."),
    "duplicates": ("indexer.library_cli:duplicates", "List photos that the library holds twice."),
    "doubtful": ("indexer.library_cli:doubtful", "List photos whose label their neighbours contradict."),
    "migrate": ("indexer.library_cli:migrate", "Bring the index to a Qdrant server, or back."),
    "serve": ("web.cli:serve", "Serve the search page and the JSON API."),
    "worker": ("indexer.cli:worker", "Run a worker for distributed indexing jobs."),
    "doctor": ("indexer.cli:doctor", "Check settings, bundle, index, servers, disk and versions."),
}


def main() -> None:
    """Run the command line; exit with 0, with 1 after a sentence that says what to do, or with 2 for wrong usage."""
    called = next((word for word in sys.argv[1:] if not word.startswith("-")), None)
    try:
        _app(called)()
    except LookalikeError as error:
        _fail(error)
    except OSError as error:  # a folder that may not be written, a disk that is full
        place = f"{display(error.filename)} can't be used" if error.filename else "The system refused"
        _fail(LookalikeError(f"{place} ({error.strerror or error}).", "Check permissions and free space."))


def _app(called: str | None) -> typer.Typer:
    """The application with one command imported, and the others in name only."""
    app = typer.Typer(
        help="Find the photos that look like a photo.", no_args_is_help=True, pretty_exceptions_enable=False
    )
    for name, (place, summary) in COMMANDS.items():
        target = _load(place) if name == called else _in_name_only
        if isinstance(target, typer.Typer):
            app.add_typer(target, name=name, help=summary)
        else:
            app.command(name, help=summary)(target)
    return app


def _fail(error: LookalikeError) -> NoReturn:
    say(str(error), "red")
    if "--json" in sys.argv:
        print(json_line({"error": error.message, "remedy": error.remedy}))
    sys.exit(1)


def _load(place: str) -> Any:
    module, _, attribute = place.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _in_name_only() -> None:
    """Stands in the help for a command that was not called."""


if __name__ == "__main__":
    main()
