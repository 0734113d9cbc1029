"""The cells of CSV files, which no spreadsheet takes for formulas, and their texts."""

import csv
import io

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from retrieval.csv_cells import cell_text, csv_cell


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+49 170 1234", "'+49 170 1234"),
        ("-", "'-"),
        ("@shop", "'@shop"),
        ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"),
        ("\n=1", "'\n=1"),
        ("-2+3", "'-2+3"),
        ("'=1", "''=1"),
        ("-2.5", "-2.5"),
        ("+1e-3", "+1e-3"),
        ("-33.8,151.2", "-33.8,151.2"),
        ("'n' = 1", "'n' = 1"),
        ("a=1", "a=1"),
        ("", ""),
        (-2.5, -2.5),
        (None, None),
        (["=1", "ü"], '["=1", "ü"]'),
    ],
)
def test_a_text_that_a_spreadsheet_would_compute_follows_an_apostrophe(value: object, cell: object) -> None:
    assert csv_cell(value) == cell


@given(st.text("'=+-@\t\r\n1.,ae\"") | st.text())
@example("-1")
@example("'-1")
def test_texts_are_read_as_they_were_written(text: str) -> None:
    file = io.StringIO(newline="")
    csv.writer(file).writerow([csv_cell(text), "x"])
    (row,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert cell_text(row[0]) == text
