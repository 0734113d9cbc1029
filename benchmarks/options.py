"""What most benchmarks beside this file are given, and how they print what they found."""

import argparse
import json
from pathlib import Path
from typing import Any


def bundle_and_photos(description: str) -> argparse.ArgumentParser:
    """A parser with `--bundle`, `--photos` and `--json`, to which each benchmark adds its own."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="the model bundle")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print a result as one JSON object, or a line for each of its figures."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in figures(result):
        print(f"{name:<44} {value}")


def figures(result: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Each figure of a result by its name, and as text; a median with its spread is one figure."""
    found = []
    for key, value in result.items():
        name = f"{prefix}{key}".replace("_", " ")
        if not is_figure(value):
            found += figures(value, f"{name}: ")
        elif isinstance(value, dict):
            median, least, most = (as_text(value[of]) for of in ("median", "least", "most"))
            found.append((name, f"{median} ({least}–{most})"))
        else:
            found.append((name, as_text(value)))
    return found


def as_text(value: object) -> str:
    """A figure for reading: four digits are as many as a measurement is worth."""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(as_text, value)) or "none"
    return "–" if value is None else str(value)


def is_figure(value: object) -> bool:
    """Whether it is one: a number or a word, or the median of some numbers with its spread; not a part with figures."""
    return not isinstance(value, dict) or value.keys() == {"median", "least", "most"}
