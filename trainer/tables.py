"""Metrics as tables on a terminal."""

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table

from retrieval.bundle import Bundle
from retrieval.metrics import ALL_METRICS, COPY_METRICS, METRICS, Means, Seeds, SplitMetrics, show
from retrieval.photo_ref import display
from trainer.comparison import ComparedBundle

# Without R@5 and R-precision, so that the table fits into 80 columns.
HEADINGS = {
    metric: ALL_METRICS[metric]
    for metric in ("recall_at_1", "recall_at_10", "precision_at_5", "map_at_r", "mrr", *COPY_METRICS)
}

SUMMARIZED = ("recall_at_1", "map_at_r", "copy_recall_at_1")
COMPARED = ("recall_at_1", "precision_at_5", "map_at_r", *COPY_METRICS)


def training_summary(bundle: Bundle) -> RenderableType:
    """The result of `lookalike train`: one sentence, after a table of the seeds if there are several."""
    metrics, report = bundle.manifest.metrics, bundle.folder / "training" / "report.html"
    split = metrics.shown_split
    measured = metrics.of(split) or SplitMetrics()
    means = {ALL_METRICS[metric]: measured[metric] for metric in SUMMARIZED}
    shown = ", ".join(f"{name} {show(mean)}" for name, mean in means.items() if mean is not None)
    sentence = escape(
        f"{bundle.model_id} is in {display(bundle.folder)}: {split} {shown}. Its report: {display(report)}"
    )
    return Group(_seeds_table(metrics.seeds, split), sentence) if metrics.seeds else sentence


def evaluation_table(metrics: SplitMetrics, untrained: SplitMetrics | None) -> Table:
    """Metrics overall, by class, and of the untrained backbone if they are known."""
    rows = [("all", metrics), *(metrics.per_class or {}).items()]
    if untrained is not None:
        rows.append(("untrained", untrained))
    table = _table(f"{metrics.queries} queries; below each mean its 95 % interval")
    for name, of_row in rows:
        table.add_row(escape(name), *_cells(of_row, HEADINGS))
    return table


def comparison_table(entries: Sequence[ComparedBundle]) -> Table:
    """Metrics and cost of each bundle, then the metrics of the untrained backbones."""
    headings = [ALL_METRICS[metric].replace(" ", "\n") for metric in COMPARED]
    table = Table("bundle", *headings, "s", "param.", "MB", box=None, header_style="bold", padding=(0, 1, 0, 0))
    for entry in entries:
        how = "\n".join([entry.backbone, f"in {entry.precision}", ", ".join([entry.recipe, *entry.changed])])
        name = f"{escape(entry.bundle)}\n[dim]{escape(how)}[/dim]"
        cost = (_number(entry.seconds), _number(entry.parameters, 1e6, "M"), _number(entry.bytes, 1e6))
        table.add_row(name, *_compared(entry.metrics), *cost)
        if seeds := entry.seeds:
            cells = (f"{show(seeds.mean[metric])}\n[dim]±{show(seeds.spread[metric])}[/dim]" for metric in COMPARED)
            table.add_row(f"mean of {seeds.count} seeds", *cells)
    for backbone, untrained in {entry.backbone: entry.untrained for entry in entries if entry.untrained}.items():
        table.add_row(f"untrained\n[dim]{escape(backbone)}[/dim]", *_compared(untrained))
    return table


def _seeds_table(seeds: Seeds, split: str) -> Table:
    """The metrics of each seed on a split, then their mean and spread."""
    table = _table(f"{len(seeds.runs)} seeds, {split} photos")
    for run in seeds.runs:
        kept = " (kept)" if run.seed == seeds.kept else ""
        table.add_row(f"seed {run.seed}{kept}", *_cells(run.of(split), HEADINGS))
    table.add_section()
    table.add_row("mean", *_cells(seeds.mean.of(split), HEADINGS))
    table.add_row("spread", *_cells(seeds.spread.of(split), HEADINGS))
    return table


def _table(title: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column()
    for heading in HEADINGS.values():
        table.add_column(heading, no_wrap=True)
    return table


def _compared(means: Means) -> list[str]:
    """The cells of a comparison, of copy metrics without the interval, for which 80 columns have no space."""
    return [
        *_cells(means, (metric for metric in COMPARED if metric in METRICS)),
        *(show(means[metric]) for metric in COPY_METRICS),
    ]


def _cells(means: Means | None, metrics: Iterable[str]) -> list[str]:
    """Each metric's mean, and below it the interval if it is known."""
    means = means or Means()
    intervals = means.intervals if isinstance(means, SplitMetrics) else None
    cells = {metric: show(means[metric]) for metric in metrics}
    for metric, (low, high) in (intervals or {}).items():
        if metric in cells:
            cells[metric] += f"\n[dim]{low:.2f}–{high:.2f}[/dim]"
    return list(cells.values())


def _number(value: float | None, unit: float = 1, suffix: str = "") -> str:
    if value is None:
        return "–"
    return f"{value / unit:.{0 if value / unit >= 10 else 1}f}{suffix}"
