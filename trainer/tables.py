"""Figures as tables on a terminal."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from trainer.evaluation import METRICS

Figures = Mapping[str, Any]


def evaluation_table(figures: Figures, untrained: Figures | None) -> Table:
    """Overall first, then class by class, and the untrained backbone where it is known."""
    rows = {"all": figures, **figures["per_class"]}
    if untrained is not None:
        rows["untrained backbone"] = untrained
    table = Table("", *METRICS.values(), title=f"{figures['queries']} queries; below each mean its 95 % interval")
    for name, of_row in rows.items():
        table.add_row(escape(name), *(cell(of_row, metric) for metric in METRICS))
    return table


def seeds_table(seeds: Figures, split: str) -> Table:
    """Each run's figures on a split, then their mean and spread."""
    table = Table("", *METRICS.values(), title=f"{len(seeds['runs'])} seeds, {split} photos")
    for run in seeds["runs"]:
        kept = " (kept)" if run["seed"] == seeds["kept"] else ""
        table.add_row(f"seed {run['seed']}{kept}", *(f"{run[split][metric]:.3f}" for metric in METRICS))
    table.add_section()
    mean, spread = seeds["mean"][split], seeds["spread"][split]
    table.add_row("mean ± spread", *(f"{mean[metric]:.3f} ± {spread[metric]:.3f}" for metric in METRICS))
    return table


def cell(figures: Figures, metric: str) -> str:
    """A metric's mean, and below it the interval where it is known."""
    mean = f"{figures[metric]:.3f}"
    if "intervals" not in figures:
        return mean
    low, high = figures["intervals"][metric]
    return f"{mean}\n[dim]{low:.3f}–{high:.3f}[/dim]"
