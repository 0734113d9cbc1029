"""Options and output shared by the benchmarks."""

import argparse
import json
from pathlib import Path
from typing import Any


def bundle_and_photos(description: str) -> argparse.ArgumentParser:
    """A parser with `--bundle`, `--photos` and `--json`; each benchmark adds its own options."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bundle", type=Path, required=True, help="the model bundle")
    parser.add_argument("--photos", type=Path, required=True, help="a folder of photos")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def show(result: dict[str, Any], as_json: bool) -> None:
    """Print a result as one JSON object, or as one line per value."""
    if as_json:
        print(json.dumps(result))
        return
    for name, value in values_of(result):
        print(f"{name:<44} {value}")


def values_of(result: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Each value of a result by name, as text; a median with its range is one value."""
    found = []
    for key, value in result.items():
        name = f"{prefix}{key}".replace("_", " ")
        if not is_value(value):
            found += values_of(value, f"{name}: ")
        elif isinstance(value, dict):
            median, least, most = (as_text(value[of]) for of in ("median", "least", "most"))
            found.append((name, f"{median} ({least}–{most})"))
        else:
            found.append((name, as_text(value)))
    return found


def as_text(value: object) -> str:
    """Format a value with four significant digits."""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(as_text, value)) or "none"
    return "–" if value is None else str(value)


def is_value(value: object) -> bool:
    """Whether this is a single value: a number, a word, or a median with its range."""
    return not isinstance(value, dict) or value.keys() == {"median", "least", "most"}
