"""The language of filters: a JSON object as a condition on photos.

An object is a conjunction: `{"price": {"gte": 10}, "shop": ["a", "b"], "not": {"label": "rose"}}`. `docs/api.md`
describes it.
"""

import json
import math
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from retrieval.columns.evidence import PLURALS
from retrieval.columns.kinds import DAY_LENGTH, Kind, is_place, parse_date
from retrieval.columns.schema import ColumnSchema
from retrieval.errors import BadQuery
from retrieval.index.conditions import (
    AllOf,
    AnyOf,
    Condition,
    During,
    Exists,
    Field,
    Near,
    Not,
    OneOf,
    StartsWith,
    Within,
)
from retrieval.index.filter import LABEL, labelled
from retrieval.labels import composed
from retrieval.photo_ref import display

BUILT_IN = {
    "label": LABEL,
    "bytes": Field("bytes", "number"),
    "modified": Field("modified_at", "date"),
    "taken": Field("columns.taken", "date"),
    "camera": Field("columns.camera", "text"),
    "path": Field("uri", "text"),
    "orientation": Field("columns.orientation", "text"),
    "place": Field("columns.place", "place"),
}
OF_MANIFEST = "columns."  # before the name of a column of manifests, which is needed if a built-in one has this name
LIMITS = ("gte", "gt", "lte", "lt")
Limit = TypeVar("Limit", float, datetime)
GROUPED_KINDS = ("text", "number", "flag")
OPERATORS: dict[Kind, tuple[str, ...]] = {
    "text": ("prefix", "exists"),
    "number": (*LIMITS, "exists"),
    "date": (*LIMITS, "exists"),
    "flag": ("exists",),
    "place": ("near", "exists"),
}
EXAMPLES: dict[Kind, str] = {
    "text": "a text",
    "number": "a number",
    "date": 'a date, such as "2024-05-31" or "2024-05-31T12:00:00Z"',
    "flag": "true or false",
    "place": '{"near": {"lat": 48.1, "lon": 11.6, "km": 5}}',
}
MOST_TEXTS = 10_000
MOST_CONDITIONS = 1_000  # others: engines check each of them on its own
DEEPEST = 16
FARTHEST_KM = 20_038  # half of the equator
SHOWN = 100  # characters of a wrong value

Paths = Callable[[str], Sequence[str]]  # the beginnings of the URIs of photos with a path that starts with a text


def parse_where(where: object, schema: ColumnSchema, paths: Paths, hidden: Collection[str] = ()) -> Condition | None:
    """Return the condition that a filter describes; None for an empty one, which every photo satisfies.

    Args:
        where: JSON as text, or the object that it describes.
        schema: the columns of the index.
        paths: finds URIs for the column `path`.
        hidden: the columns that may not be used.

    Raises:
        BadQuery: it is not such a filter, or names a column that the index does not have.
    """
    if isinstance(where, str):
        where = _loaded(where)
    if where in (None, {}):
        return None
    return _Parser(schema, paths, hidden).condition(where)


def columns_of(schema: ColumnSchema, hidden: Collection[str] = ()) -> dict[str, Field]:
    """Return the columns that a filter can use, by their names in it."""
    own = {f"{OF_MANIFEST}{name}" if _needs_prefix(name) else name: name for name in schema.kinds}
    built_in = {name: field for name, field in BUILT_IN.items() if name not in hidden}
    return built_in | {shown: schema.field(name) for shown, name in own.items() if name not in hidden}


def group_field(name: str, schema: ColumnSchema, hidden: Collection[str] = ()) -> Field:
    """Return the field of a column by which results can be grouped; raises `BadQuery` if there is none."""
    field = _Parser(schema, lambda _: [], hidden).field(name)
    if field.kind not in GROUPED_KINDS or field == BUILT_IN["path"]:
        raise BadQuery(f"Results can't be grouped by {display(name)}.", "Name a column with texts, numbers or flags.")
    return field


class _Parser:
    def __init__(self, schema: ColumnSchema, paths: Paths, hidden: Collection[str]) -> None:
        self._columns = columns_of(schema, hidden)
        shown = {name: schema.field(name) for name in schema.kinds if name not in hidden}
        self._fields = shown | {f"{OF_MANIFEST}{name}": field for name, field in shown.items()} | self._columns
        self._paths = paths
        self._texts, self._conditions = 0, 0

    def condition(self, where: object, depth: int = 0) -> Condition:
        """Return the condition of an object."""
        if not isinstance(where, Mapping) or not where:
            raise BadQuery(
                f"where has {_shown(where)} in place of an object with conditions.",
                'Give one, such as {"price": {"gte": 10}}.',
            )
        if depth > DEEPEST:
            raise BadQuery(f"where is nested deeper than {DEEPEST} objects.", "Simplify it.")
        return _all([one for key, value in where.items() for one in self._of_key(key, value, depth)])

    def _of_key(self, key: str, value: object, depth: int) -> Iterator[Condition]:
        if key == "any":
            if not isinstance(value, list) or not value:
                raise BadQuery(f"any is {_shown(value)}.", "Give a list of objects, of which one should match.")
            yield AnyOf(tuple(self.condition(each, depth + 1) for each in value))
        elif key == "not":
            yield Not(self.condition(value, depth + 1))
        else:
            yield from self._of_column(key, self.field(key), value)

    def field(self, name: str) -> Field:
        field = self._fields.get(name)
        if field is None:
            known = ", ".join(map(display, sorted(self._columns)))
            raise BadQuery(f"There is no column {display(name)}.", f"The columns are {known}.")
        return field

    def _of_column(self, name: str, field: Field, value: object) -> Iterator[Condition]:
        """Yield what a column should be: a value, one of several, or what an object of operators says."""
        if isinstance(value, Mapping):
            yield from self._operators(name, field, value)
            return
        values = value if isinstance(value, list) else [value]
        if not values:
            raise BadQuery(f"The list for {display(name)} is empty.", "Give at least one value.")
        if field.kind in ("number", "date"):
            self._count(len(values))
            yield _any([self._equal(name, field, each) for each in values])
        else:
            self._count_texts(len(values))
            yield self._one_of(name, field, [self._text(name, field, each) for each in values])

    def _operators(self, name: str, field: Field, operators: Mapping[str, object]) -> Iterator[Condition]:
        known = OPERATORS[field.kind]
        for operator in operators:
            if operator not in known:
                raise BadQuery(
                    f"{display(name)} holds {PLURALS[field.kind]}, for which there is no {display(operator)}.",
                    f"Give {EXAMPLES[field.kind]}, or an object with {' or '.join(known)}.",
                )
        if not operators:
            raise BadQuery(f"The object for {display(name)} is empty.", f"Use one of {', '.join(known)}.")
        self._count(len(operators))
        if limits := {operator: value for operator, value in operators.items() if operator in LIMITS}:
            yield self._range(name, field, limits)
        if "prefix" in operators:
            yield self._prefix(name, field, operators["prefix"])
        if "near" in operators:
            yield _near(name, field, operators["near"])
        if "exists" in operators:
            if not isinstance(operators["exists"], bool):
                raise _wrong_operand(name, "exists", operators["exists"], "true or false")
            yield Exists(field) if operators["exists"] else Not(Exists(field))

    def _equal(self, name: str, field: Field, value: object) -> Condition:
        if field.kind == "number":
            number = _number(name, value)
            return Within(field, gte=number, lte=number)
        return self._range(name, field, {"gte": value, "lte": value})

    def _range(self, name: str, field: Field, limits: Mapping[str, object]) -> Condition:
        if field.kind == "number":
            return Within(field, **_strictest({limit: _number(name, value) for limit, value in limits.items()}))
        found: dict[str, datetime] = {}
        for operator, value in limits.items():
            exact, limit = _date_limit(name, operator, value)
            narrower = min if exact in ("lt", "lte") else max
            found[exact] = narrower(found.get(exact, limit), limit)
        return During(field, **_strictest(found))

    def _text(self, name: str, field: Field, value: object) -> str:
        if field.kind == "flag" and isinstance(value, bool):
            return json.dumps(value)
        if field.kind != "text" or not isinstance(value, str):
            raise _wrong(name, field.kind, value)
        return _encodable(name, value)

    def _one_of(self, name: str, field: Field, texts: list[str]) -> Condition:
        if name == "path":
            return OneOf(field, tuple(uri for text in texts for uri in self._paths(text)))
        return labelled(tuple(texts)) if field == LABEL else OneOf(field, tuple(map(composed, texts)))

    def _prefix(self, name: str, field: Field, value: object) -> Condition:
        if not isinstance(value, str):
            raise _wrong_operand(name, "prefix", value, "a text")
        text = _encodable(name, value)
        if name == "path":
            starts = tuple(StartsWith(field, uri) for uri in self._paths(text))
            return AnyOf(starts) if starts else OneOf(field, ())
        return StartsWith(field, _composed_start(text))

    def _count(self, conditions: int) -> None:
        self._conditions += conditions
        if self._conditions > MOST_CONDITIONS:
            raise BadQuery(f"where has more than {MOST_CONDITIONS:,} conditions.", "Give fewer, or use ranges.")

    def _count_texts(self, texts: int) -> None:
        self._count(1)
        self._texts += texts
        if self._texts > MOST_TEXTS:
            raise BadQuery(f"where has more than {MOST_TEXTS:,} values.", "Give fewer values.")


def _needs_prefix(name: str) -> bool:
    """Whether a column of manifests has a name that means something else, or that another one has with its prefix."""
    return name in (*BUILT_IN, "any", "not") or name.startswith(OF_MANIFEST)


def _all(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else AllOf(tuple(conditions))


def _any(conditions: list[Condition]) -> Condition:
    return conditions[0] if len(conditions) == 1 else AnyOf(tuple(conditions))


def _near(name: str, field: Field, value: object) -> Condition:
    if not isinstance(value, Mapping) or value.keys() != {"lat", "lon", "km"}:
        raise _wrong_operand(name, "near", value, EXAMPLES["place"])
    latitude, longitude, km = (_number(f"{name}.near.{part}", value[part]) for part in ("lat", "lon", "km"))
    if not is_place(latitude, longitude) or not 0 < km <= FARTHEST_KM:
        raise BadQuery(
            f"near for {display(name)} is {_shown(value)}, which is not a valid place and distance.",
            f"lat is from -90 to 90, lon from -180 to 180, and km above 0 and at most {FARTHEST_KM:,}.",
        )
    return Near(field, latitude, longitude, km)


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, "number", value)
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise BadQuery(f"{display(name)} is compared with a number that is too large.", "Give a smaller one.")
    return number


def _date_limit(name: str, operator: str, value: object) -> tuple[str, datetime]:
    """Return a limit as an operator and a time: a date without a time is the whole day."""
    date = parse_date(value) if isinstance(value, str) else None
    if date is None:
        raise _wrong(name, "date", value)
    if len(str(value)) > DAY_LENGTH or operator in ("gte", "lt"):
        return operator, date
    exact = "gte" if operator == "gt" else "lt"
    try:
        return exact, date + timedelta(days=1)
    except OverflowError:  # after the last day of the calendar
        return ("gt" if operator == "gt" else "lte"), datetime.max.replace(tzinfo=UTC)


def _strictest(limits: dict[str, Limit]) -> dict[str, Limit]:
    """Return one lower and one upper limit: with a payload index, engines ignore a second one."""
    kept = dict(limits)
    if "gt" in kept and "gte" in kept:
        del kept["gte" if kept["gt"] >= kept["gte"] else "gt"]
    if "lt" in kept and "lte" in kept:
        del kept["lte" if kept["lt"] <= kept["lte"] else "lt"]
    return kept


def _encodable(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadQuery(f"The text for {display(name)} is not valid Unicode.", "Correct it.") from None
    return text


def _composed_start(text: str) -> str:
    """Return the beginning of a text as texts are stored; a blank at its end may be followed by more."""
    return unicodedata.normalize("NFC", text).lstrip()


def _loaded(text: str) -> object:
    """Return what JSON describes; raises `BadQuery` if it is invalid, or names a column twice in an object."""
    try:
        return json.loads(text, object_pairs_hook=_object)
    except (ValueError, RecursionError) as error:
        raise BadQuery(f"where is not JSON ({error}).", 'Write {"COLUMN": VALUE}.') from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadQuery(f"where names {display(twice)} twice in one object.", "Combine its conditions in one object.")
    return found


def _wrong(name: str, kind: Kind, value: object) -> BadQuery:
    return BadQuery(
        f"{display(name)} is compared with {_shown(value)}, which is not a {kind}.", f"Give {EXAMPLES[kind]}."
    )


def _wrong_operand(name: str, operator: str, value: object, example: str) -> BadQuery:
    return BadQuery(f"{operator} for {display(name)} is {_shown(value)}.", f"Give {example}.")


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return display(text if len(text) <= SHOWN else f"{text[:SHOWN]}…")
