"""`lookalike models`."""

from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Group
from rich.markup import escape
from rich.table import Column, Table

from indexer import model_registry as registry
from indexer.index_evaluation import IndexEvaluation
from indexer.server_activation import activate_on_server
from retrieval.console import JsonFlag, print_result, say
from retrieval.current_model import overriding_model
from retrieval.errors import IndexBusy
from retrieval.index import open_store
from retrieval.metrics import ALL_METRICS, COPY_METRICS, Means, Metrics, show
from retrieval.settings import Settings, load_settings

SHOWN = ("recall_at_1", "map_at_r", *COPY_METRICS)

models = typer.Typer(help="List models, activate, roll back and remove them.", no_args_is_help=True)
ModelArgument = Annotated[str, typer.Argument(help="The model's id, as `lookalike models list` shows it.")]


@models.command("list")
def list_models(as_json: JsonFlag = False) -> None:
    """List the models that are installed or have an index."""
    settings = load_settings()
    with open_store(settings) as store:
        registry.save_unknown_counts(settings, store)
        found = registry.list_models(settings, store)
    table = Table(
        Column("model", no_wrap=True),
        "serves",
        "recipe",
        "d",
        "precision",
        "photos",
        "measured",
        box=None,
        header_style="bold",
    )
    for model in found:
        table.add_row(model.id, *(escape(text) for text in _model_columns(model)))
    print_result(
        {"models": found}, as_json, table if found else "There are no models yet. Train one with `lookalike train`."
    )
    _say_which_overrides(settings, next((model.id for model in found if model.current), None))


@models.command("activate")
def activate(
    model: ModelArgument,
    *,
    max_loss: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Maximum decrease of MAP@R on the labelled photos, compared with the current model."
        ),
    ] = registry.MAX_LOSS,
    as_json: JsonFlag = False,
) -> None:
    """Make a model the current one, if its index passes the cross-check and its MAP@R is not much lower."""
    settings = load_settings()
    with open_store(settings) as store:
        previous = store.current()
        try:
            done = registry.activate(settings, store, model, max_loss=max_loss)
        except IndexBusy as busy:
            if busy.address is None or model == previous:
                raise
            done = activate_on_server(settings, busy.address, model, max_loss)
    measured = [_evaluation_text(evaluation) for evaluation in (done.evaluation, done.before) if evaluation]
    if done.evaluation and done.before is None:
        measured.append("It was not compared with the current model: there was none, or its index could not be opened.")
    result = asdict(done)
    result["crosscheck"] = result.pop("cross_check")
    text = " ".join([f"{model} is the current model now.", done.cross_check.summary(), *measured])
    print_result(result, as_json, Group(text, _trainings(settings, model, previous)))
    _say_which_overrides(settings, model)


@models.command("rollback")
def rollback(as_json: JsonFlag = False) -> None:
    """Make the previous model the current one again."""
    settings = load_settings()
    with open_store(settings) as store:
        previous = store.current()
        model = registry.rollback(settings, store)
    text = f"{model} is the current model again."
    print_result({"current": model}, as_json, Group(text, _trainings(settings, model, previous)))
    _say_which_overrides(settings, model)


@models.command("remove")
def remove(model: ModelArgument, as_json: JsonFlag = False) -> None:
    """Delete a model's index and its installed bundle."""
    settings = load_settings()
    with open_store(settings) as store:
        registry.remove(settings, store, model)
    print_result({"removed": model}, as_json, f"{model} and its index are removed.")


def _say_which_overrides(settings: Settings, current: str | None) -> None:
    """Say which model is used, if it is not the current one, and why."""
    if model := overriding_model(settings, current):
        say(
            f"Searches and jobs use {model}, since LOOKALIKE_BUNDLE names it; unset it to use the current model.",
            "yellow",
        )


def _evaluation_text(evaluation: IndexEvaluation) -> str:
    return (
        f"{evaluation.model}: R@1 {evaluation.recall_at_1:.3f}, MAP@R {evaluation.map_at_r:.3f} "
        f"on {evaluation.photos} labelled photos."
    )


def _model_columns(model: registry.Model) -> tuple[str, ...]:
    serves = "current" if model.current else "previous" if model.previous else ""
    points = "?" if model.points is None else f"{model.points:,}"
    measured = model.problem or _measured(model.metrics)
    return serves, model.recipe or "", str(model.dimension or ""), model.precision or "", points, measured


def _trainings(settings: Settings, current: str, previous: str | None) -> Table:
    """What was measured after the training of the current and of the previous model; no rows if nothing was."""
    table = Table(show_header=False, box=None, padding=(0, 1, 0, 0))
    metrics = {model: registry.metrics_of(settings, model) for model in dict.fromkeys((current, previous)) if model}
    if any(measured.splits for measured in metrics.values()):
        for model, measured in metrics.items():
            table.add_row(f"{model}:", escape(_measured(measured) or _line(Means())))
    return table


def _measured(metrics: Metrics) -> str:
    """The metrics on the test photos, or on the validation photos if there were no test photos; "" if none is known.

    They are followed by those of the untrained network.
    """
    for split, measured in reversed(metrics.splits.items()):
        if any(measured[name] is not None for name in SHOWN):
            untrained = metrics.untrained.of(split) if metrics.untrained else None
            beside = f"; untrained: {_line(untrained)}" if untrained else ""
            return f"{_line(measured)} ({split}){beside}"
    return ""


def _line(means: Means) -> str:
    return ", ".join(f"{ALL_METRICS[name]} {show(means[name])}" for name in SHOWN)
