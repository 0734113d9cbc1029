"""The filters by columns on the page: which are offered, and which the address of a search holds.

An address holds `only=COLUMN=VALUE` for each chosen value, and `from.COLUMN` and `to.COLUMN` for the limits of a number
or date, so that a form without scripts makes it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from retrieval.columns.kinds import Kind
from retrieval.columns.where import BUILT_IN, columns_of, parse_where
from retrieval.errors import BadQuery
from retrieval.index.conditions import AllOf, Condition, Exists, Field
from retrieval.index.filter import Filter
from web.columns import hidden_columns, schema
from web.page.label_choices import LabelChoice
from web.services import services

MOST_VALUES = 20  # of a column that is offered to choose from
OFFERED = ("orientation", "camera", "taken")  # of the built-in columns
OPERATORS = {"from": "gte", "to": "lte"}


@dataclass(frozen=True, slots=True)
class ColumnFilter:
    """A column to filter by: values to choose from, or the limits that the search has."""

    name: str
    kind: Kind
    choices: Sequence[LabelChoice] = ()
    first: str = ""
    last: str = ""

    @property
    def title(self) -> str:
        """Its name as the page shows it."""
        return self.name.capitalize() if self.name in BUILT_IN else self.name


@dataclass(frozen=True, slots=True)
class ChosenFilters:
    """The filters of an address: the condition, what remains of them, and the columns for which they are not valid."""

    condition: Condition | None
    values: list[str]
    limits: dict[str, str]
    unknown: list[str]


def chosen(values: Sequence[str], limits: Mapping[str, str]) -> ChosenFilters:
    """Return the filters of an address, without those that do not fit the columns of the index."""
    known, conditions, unknown = schema(), list[Condition](), list[str]()
    kept_values, kept_limits = list[str](), dict[str, str]()
    fields = columns_of(known, hidden_columns())
    by_column: dict[str, list[str]] = {}
    for value in values:
        by_column.setdefault(value.partition("=")[0], []).append(value)
    for name in dict.fromkeys([*by_column, *(limit.partition(".")[2] for limit in limits)]):
        own = {key: value for key, value in limits.items() if key.partition(".")[2] == name}
        try:
            where = _where(name, fields.get(name), by_column.get(name, []), own)
            conditions += [found for one in where if (found := parse_where(one, known, lambda _: [], hidden_columns()))]
        except BadQuery:
            unknown.append(name)
            continue
        kept_values += by_column.get(name, [])
        kept_limits |= own
    condition = AllOf(tuple(conditions)) if conditions else None
    return ChosenFilters(condition, kept_values, kept_limits, unknown)


def offered(values: Sequence[str], limits: Mapping[str, str]) -> list[ColumnFilter]:
    """Return the columns to filter by: numbers, dates, and texts and flags with few values."""
    fields = columns_of(schema(), hidden_columns())
    found = (_offered(name, field, values, limits) for name, field in fields.items() if _is_offered(name))
    return [column for column in found if column is not None]


def _is_offered(name: str) -> bool:
    return name not in BUILT_IN or name in OFFERED


def _offered(name: str, field: Field, values: Sequence[str], limits: Mapping[str, str]) -> ColumnFilter | None:
    if field.kind in ("number", "date"):
        if not services().searcher.index.matching(Filter(where=Exists(field))):
            return None
        return ColumnFilter(name, field.kind, (), limits.get(f"from.{name}", ""), limits.get(f"to.{name}", ""))
    if field.kind == "place":
        return None
    index = services().searcher.index
    counts = services().label_counts.of_column(index, field, MOST_VALUES + 1)
    selected = [value.partition("=")[2] for value in values if value.partition("=")[0] == name]
    shown = selected if len(counts) > MOST_VALUES else [*counts, *(value for value in selected if value not in counts)]
    if len(shown) < 2 and not selected:
        return None
    return ColumnFilter(name, field.kind, [LabelChoice(one, counts.get(one, 0), one in selected) for one in shown])


def _where(name: str, field: Field | None, values: Sequence[str], limits: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return what the address says about a column as filters; values in it are texts."""
    wanted = [value.partition("=")[2] for value in values]
    conditions: list[dict[str, Any]] = []
    if wanted:
        is_flag = field is not None and field.kind == "flag"
        conditions.append({name: [one == "true" for one in wanted] if is_flag else wanted})
    if limits:
        is_number = field is not None and field.kind == "number"
        found = {OPERATORS[key.partition(".")[0]]: value for key, value in limits.items()}
        conditions.append({name: {key: _number(value) if is_number else value for key, value in found.items()}})
    return conditions


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
