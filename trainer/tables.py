"""Figures as tables on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from retrieval.analysis.evaluation import METRICS, shown_split
from retrieval.photo_ref import display
from trainer.comparison import Entry

# Without R-precision, so that the table fits into 80 columns.
HEADINGS = {metric: heading for metric, heading in METRICS.items() if metric != "r_precision"}

COMPARED = {metric: METRICS[metric] for metric in ("recall_at_1", "precision_at_5", "map_at_r", "mrr")}

Figures = Mapping[str, Any]


def training_summary(result: Figures) -> RenderableType:
    """What `lookalike train` came to: in one sentence, after a table of the seeds where there are several."""
    metrics = result["metrics"]
    split = shown_split(metrics)
    sentence = escape(
        f"{result['model_id']} is in {display(result['bundle'])}: {split} R@1 {metrics[split]['recall_at_1']:.3f}, "
        f"MAP@R {metrics[split]['map_at_r']:.3f}. Its report: {display(result['report'])}"
    )
    return Group(_seeds_table(metrics["seeds"], split), sentence) if "seeds" in metrics else sentence


def evaluation_table(figures: Figures, untrained: Figures | None) -> Table:
    """Overall first, then class by class, and the untrained backbone where it is known."""
    rows = [("all", figures), *figures["per_class"].items()]
    if untrained is not None:
        rows.append(("untrained", untrained))
    table = _table(f"{figures['queries']} queries; below each mean its 95 % interval")
    for name, of_row in rows:
        table.add_row(escape(name), *(_cell(of_row, metric) for metric in HEADINGS))
    return table


def comparison_table(entries: Sequence[Entry]) -> Table:
    """Bundle by bundle its figures and what they cost; below, the untrained backbones."""
    table = Table(
        "bundle", *COMPARED.values(), "s", "param.", "MB", box=None, header_style="bold", padding=(0, 1, 0, 0)
    )
    for entry in entries:
        name = f"{escape(entry.bundle)}\n[dim]{escape(entry.how)}[/dim]"
        cost = (_number(entry.seconds), _number(entry.parameters, 1e6, "M"), _number(entry.bytes, 1e6))
        table.add_row(name, *(_cell(entry.figures, metric) for metric in COMPARED), *cost)
        if entry.seeds:
            mean, spread = entry.seeds["mean"], entry.seeds["spread"]
            figures = (f"{mean[metric]:.3f}\n[dim]± {spread[metric]:.3f}[/dim]" for metric in COMPARED)
            table.add_row(f"mean of {entry.seeds['count']} seeds", *figures)
    for backbone, untrained in {entry.backbone: entry.untrained for entry in entries if entry.untrained}.items():
        table.add_row(f"untrained\n[dim]{escape(backbone)}[/dim]", *(_cell(untrained, metric) for metric in COMPARED))
    return table


def _seeds_table(seeds: Figures, split: str) -> Table:
    """Each run's figures on a split, then their mean and spread."""
    table = _table(f"{len(seeds['runs'])} seeds, {split} photos")
    for run in seeds["runs"]:
        kept = " (kept)" if run["seed"] == seeds["kept"] else ""
        table.add_row(f"seed {run['seed']}{kept}", *(f"{run[split][metric]:.3f}" for metric in HEADINGS))
    table.add_section()
    mean, spread = seeds["mean"][split], seeds["spread"][split]
    table.add_row("mean", *(f"{mean[metric]:.3f}" for metric in HEADINGS))
    table.add_row("spread", *(f"{spread[metric]:.3f}" for metric in HEADINGS))
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column()
    for heading in HEADINGS.values():
        table.add_column(heading, no_wrap=True)
    return table


def _cell(figures: Figures, metric: str) -> str:
    """A metric's mean, and below it the interval where it is known."""
    mean = f"{figures[metric]:.3f}"
    if "intervals" not in figures:
        return mean
    low, high = figures["intervals"][metric]
    return f"{mean}\n[dim]{low:.2f}–{high:.2f}[/dim]"


def _number(value: float | None, unit: float = 1, suffix: str = "") -> str:
    if value is None:
        return "–"
    return f"{value / unit:.{0 if value / unit >= 10 else 1}f}{suffix}"
