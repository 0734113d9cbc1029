"""Filters over HTTP, and the columns that the current request may see."""

from collections.abc import Collection
from typing import Any

from retrieval.api_keys import Scope
from retrieval.columns.schema import ColumnSchema, read_schema
from retrieval.columns.where import group_field, parse_where
from retrieval.index.conditions import Condition, Field
from retrieval.photo_ref import Extra
from web.keys import may
from web.services import services


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


def shown_extra(extra: Extra) -> Extra:
    """Return the columns of a photo that the current request may see."""
    hidden = hidden_columns()
    return {name: value for name, value in extra.items() if name not in hidden} if hidden else extra
