"""The cells of exported CSV files."""

import json
from typing import Any


def csv_cell(value: Any) -> Any:
    """Return a value as `csv` should write it: a list as a JSON array."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
