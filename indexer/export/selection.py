"""The columns of some photos as one text, for the page and the API."""

import csv
import io
import json
import uuid
from collections.abc import Sequence
from typing import Any, Literal

from indexer.export.columns import StoredColumns
from retrieval.csv_cells import csv_cell
from retrieval.index import Payload

TextFormat = Literal["csv", "json"]


def selection_text(
    columns: StoredColumns, photos: Sequence[tuple[uuid.UUID, Payload]], further: dict[str, list[Any]], form: TextFormat
) -> str:
    """Return a table of photos: CSV with a row of names, or a JSON array with an object for each photo.

    Args:
        columns: of `lookalike export`, those without embeddings.
        photos: the rows.
        further: columns that replace those of the same name, or follow them.
        form: the format.
    """
    values = {**columns.values([photo for photo, _ in photos], [payload.as_dict() for _, payload in photos]), **further}
    rows = list(zip(*values.values(), strict=True))
    if form == "json":
        return json.dumps([dict(zip(values, row, strict=True)) for row in rows], ensure_ascii=False)
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(map(csv_cell, values))
    table.writerows(map(csv_cell, row) for row in rows)
    return text.getvalue()
