"""The cells of CSV files: lists as JSON, and no text that a spreadsheet would compute.

Spreadsheets compute a cell that starts like a formula, also one in a file of unknown origin. Therefore an apostrophe is
written before such a text (OWASP, "CSV Injection"), and removed when it is read. Numbers are no formulas.
"""

import json
import re
from typing import Any

from retrieval.columns.kinds import NUMBER, PLACE

FORMULA = re.compile(r"'*[=+\-@\t\r\n]")  # after apostrophes, so that a text with one of its own is read back, too
ESCAPED = re.compile(r"'+[=+\-@\t\r\n]")


def csv_cell(value: Any) -> Any:
    """Return a value as `csv` should write it."""
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and _is_computed(value) else value


def cell_text(cell: str) -> str:
    """Return the text of a cell that `csv_cell` wrote."""
    return cell[1:] if ESCAPED.match(cell) else cell


def _is_computed(text: str) -> bool:
    return bool(FORMULA.match(text)) and not NUMBER.fullmatch(text) and not PLACE.fullmatch(text)
