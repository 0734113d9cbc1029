"""Write `results.md`: the machine, the targets with their measurements, and the result of each script."""

import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from draw_charts import draw_charts
from options import as_text, is_value, values_of
from targets import ROWS

from retrieval.cores import usable_cores

HERE = Path(__file__).parent
PACKAGES = ("onnxruntime", "numpy", "pillow", "tensorflow", "scikit-learn", "qdrant-edge-py", "faiss-cpu", "usearch")


@dataclass(frozen=True)
class Failed:
    """A script without a result."""

    why: str


Results = Mapping[str, dict[str, Any] | Failed]


def write_report(folder: Path, results: Results, photos: str) -> None:
    """Write `results.md` and `charts/` into a folder.

    Args:
        folder: where.
        results: what each script found, by its name, in the order of the sections.
        photos: what was measured on, in words.
    """
    found = {name: result for name, result in results.items() if not isinstance(result, Failed)}
    folder.mkdir(parents=True, exist_ok=True)
    charts = draw_charts(folder / "charts", found)
    parts = [_head(photos), _ratios(found), *(_section(name, result) for name, result in results.items())]
    parts += [f"![{title}](charts/{file})" for file, title in charts.items()]
    (folder / "results.md").write_text("\n\n".join(part for part in parts if part) + "\n", encoding="utf-8")


def _head(photos: str) -> str:
    return "\n".join(
        [
            "# Results",
            "",
            f"Written by `make bench` on {datetime.now(UTC):%d %B %Y, %H:%M} UTC, at commit {_commit()}, on {photos}.",
            "Speeds are medians, with minimum and maximum over the runs; alternatives were measured in turn.",
            "",
            f"- {_processor()}, {usable_cores()} cores, {psutil.virtual_memory().total / 2**30:.0f} GiB of memory",
            f"- {platform.system()} {platform.release()}, Python {platform.python_version()}, {_versions()}",
        ]
    )


def _ratios(found: Mapping[str, dict[str, Any]]) -> str:
    """The table of targets, and the reasons why some were missed."""
    lines = ["## Targets", "", "| measured | target | | |", "|---|---|---|---|"]
    missed = []
    for row in ROWS:
        value = row.seen(found)
        if value is None:
            lines.append(f"| – | {row.bound} | not measured | {row.what} |")
            continue
        met = row.holds(value)
        lines.append(f"| **{as_text(value)}{row.unit}** | {row.bound} | {'✓' if met else 'missed'} | {row.what} |")
        if not met:
            missed.append(row)
    if missed:
        lines += ["", "### What was missed, and what limits it", ""]
        lines += [f"- **{row.what}**: {row.limits}" for row in missed]
    return "\n".join(lines)


def _section(name: str, result: dict[str, Any] | Failed) -> str:
    heading = f"## {name.replace('_', ' ')}"
    if isinstance(result, Failed):
        return f"{heading}\n\nIt was not measured: {result.why}."
    return "\n\n".join([heading, *_tables(result)])


def _tables(result: dict[str, Any]) -> list[str]:
    """A table of single values, and one with a column for each group of the same shape."""
    single: dict[str, Any] = {}
    alike: dict[str, dict[str, dict[str, Any]]] = {}
    for name, value in result.items():
        if is_value(value):
            single[name] = value
        else:
            alike.setdefault(next(iter(value)), {})[name] = value
    tables = []
    for parts in alike.values():
        if len(parts) > 1:
            tables.append(_side_by_side(parts))
            continue
        ((name, part),) = parts.items()
        if all(is_value(value) for value in part.values()):
            single[name] = part
        else:
            tables += _tables(part)
    first = [_table(["", ""], [[name, value] for name, value in values_of(single)])] if single else []
    return first + tables


def _side_by_side(parts: dict[str, dict[str, Any]]) -> str:
    columns = {name: dict(values_of(part)) for name, part in parts.items()}
    rows = dict.fromkeys(figure for column in columns.values() for figure in column)
    heads = ["", *(name.replace("_", " ") for name in columns)]
    return _table(heads, [[row, *(column.get(row, "") for column in columns.values())] for row in rows])


def _table(heads: list[str], rows: list[list[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [heads, ["---"] * len(heads), *rows])


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not on Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _versions() -> str:
    known = []
    for package in PACKAGES:
        try:
            known.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            known.append(f"{package} not installed")
    return ", ".join(known)


def _commit() -> str:
    command = ["git", "-C", str(HERE), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"
