"""Filters over HTTP, and the columns that the current request may see."""

import re
from collections.abc import Callable, Collection
from typing import Any

from retrieval.api_keys import Scope
from retrieval.columns.schema import ColumnSchema, read_schema
from retrieval.columns.where import group_field, parse_where
from retrieval.errors import BadQuery
from retrieval.index.conditions import Condition, Field
from retrieval.photo_ref import display
from web.keys import may
from web.services import services

HIDDEN_MESSAGE = "This message names a hidden column; keys of the scope write can see it."


def condition_of(where: dict[str, Any] | str | None) -> Condition | None:
    """Return the condition of a filter; raises `BadQuery` if it is wrong, or names a column that does not exist."""
    if where is None:
        return None
    return parse_where(where, schema(), services().shown_paths.uri_starts, hidden_columns())


def group_by(column: str | None) -> Field | None:
    """Return the field by which results are grouped; raises `BadQuery` if there is no such column."""
    return None if column is None else group_field(column, schema(), hidden_columns())


def schema() -> ColumnSchema:
    """Return the columns of the current index."""
    return read_schema(services().searcher.index) or ColumnSchema()


def hidden_columns() -> Collection[str]:
    """Return the columns that the current request may neither see nor use in a filter."""
    return () if may(Scope.WRITE) else services().settings.hidden_columns


def order(sort: str) -> str:
    """Return an order of photos; raises `BadQuery` if the current request may not see the column."""
    if sort.removeprefix("-") in hidden_columns():
        raise BadQuery(f"There is no column {sort.removeprefix('-')}.", "Sort by another one.")
    return sort


def without_hidden() -> Callable[[str], str]:
    """Return a function that replaces a message about a column that the current request may not see.

    Such a message may have values of the column. The function can also be called after the request.
    """
    names = [re.escape(display(name)) for name in hidden_columns()]
    if not names:
        return lambda message: message
    named = re.compile(rf"(?<!\w)({'|'.join(names)})(?!\w)")
    return lambda message: HIDDEN_MESSAGE if named.search(message) else message
