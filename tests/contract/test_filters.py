"""Both engines and `Filter.matches` agree with NumPy on which photos a filter keeps."""

import uuid
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retrieval.columns.evidence import ColumnEvidence
from retrieval.columns.schema import ColumnSchema
from retrieval.columns.where import parse_where
from retrieval.index import Filter, IndexStore, Payload, Point
from retrieval.index.edge import EmbeddedIndex
from retrieval.index.payload import INDEXED_FIELDS
from retrieval.photo_ref import photo_id

DIMENSION = 4
SHOPS = ("a", "b", "ab", "é", "rosé wine")
MOMENTS = ("2024-01-01", "2024-01-01T12:30:00", "2024-01-02T00:00:00+02:00", "2023-12-31T23:59:59.999999Z")
PLACES = ("48.1, 11.6", "48.2,11.6", "-33.9 18.4", "0, 179.99", "0,-179.99")
NUMBERS = (-1.5, 0, 1, 10, 10.5, 1e6)

rows = st.fixed_dictionaries(
    {"label": st.sampled_from(("rose", "tulip", None)), "bytes": st.integers(0, 3)},
    optional={
        "price": st.sampled_from(NUMBERS) | st.lists(st.sampled_from(NUMBERS), min_size=1, max_size=3),
        "shop": st.sampled_from(SHOPS) | st.lists(st.sampled_from(SHOPS), min_size=1, max_size=3),
        "made (on)": st.sampled_from(MOMENTS),
        "sold": st.booleans(),
        "spot": st.sampled_from(PLACES),
    },
)


def limits(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(("gte", "gt", "lte", "lt")), values, min_size=1, max_size=2)


def texts(values: tuple[str, ...]) -> st.SearchStrategy[Any]:
    one = st.sampled_from((*values, "nowhere"))
    return one | st.lists(one, min_size=1, max_size=3) | st.builds(lambda text: {"prefix": text}, one)


exists = st.builds(lambda value: {"exists": value}, st.booleans())
near = st.builds(
    lambda place, km: {"near": {"lat": place[0], "lon": place[1], "km": km}},
    st.sampled_from(((48.1, 11.6), (0.0, 180.0), (-33.9, 18.4))),
    st.sampled_from((1.0, 50.0, 12_000.0)),
)
columns = st.one_of(
    st.tuples(st.just("label"), texts(("rose", "tulip")) | exists),
    st.tuples(st.just("bytes"), limits(st.integers(0, 3)) | st.integers(0, 3)),
    st.tuples(st.just("price"), limits(st.sampled_from(NUMBERS)) | st.sampled_from(NUMBERS) | exists),
    st.tuples(st.just("columns.shop"), texts(SHOPS) | exists),
    st.tuples(st.just("made (on)"), limits(st.sampled_from(MOMENTS)) | st.sampled_from(MOMENTS) | exists),
    st.tuples(st.just("sold"), st.booleans() | st.lists(st.booleans(), min_size=1) | exists),
    st.tuples(st.just("spot"), near | exists),
).map(lambda pair: dict([pair]))
wheres = st.recursive(
    columns,
    lambda inner: st.one_of(
        st.builds(lambda one: {"not": one}, inner),
        st.builds(lambda some: {"any": some}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda one, other: one | other, inner, inner),
    ),
    max_leaves=4,
)


def kept(where: dict[str, Any], data: list[dict[str, Any]]) -> np.ndarray:
    """Which rows a filter keeps, bool [rows], independent of the code of the filters."""
    keep = np.ones(len(data), bool)
    for key, value in where.items():
        if key == "any":
            keep &= np.any([kept(one, data) for one in value], axis=0)
        elif key == "not":
            keep &= ~kept(value, data)
        else:
            keep &= np.array([_fits(key.removeprefix("columns."), value, row) for row in data], bool)
    return keep


def _fits(name: str, wanted: Any, row: dict[str, Any]) -> bool:
    value = row.get(name)
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not isinstance(wanted, dict):
        some = wanted if isinstance(wanted, list) else [wanted]
        if name == "made (on)":
            return any(_instant(each) in _span(one) for each in values for one in some)
        return any(each == one for each in values for one in some)
    if "exists" in wanted:
        return bool(values) == wanted["exists"]
    if "prefix" in wanted:
        return any(each.startswith(wanted["prefix"]) for each in values)
    if "near" in wanted:
        return any(_km(each, wanted["near"]) <= wanted["near"]["km"] for each in values)
    return any(all(_within(name, each, limit, bound) for limit, bound in wanted.items()) for each in values)


def _within(name: str, value: Any, limit: str, bound: Any) -> bool:
    if name != "made (on)":
        return bool({"gte": value >= bound, "gt": value > bound, "lte": value <= bound, "lt": value < bound}[limit])
    span, instant = _span(bound), _instant(value)
    first, last = span[0], span[-1]
    return {"gte": instant >= first, "gt": instant > last, "lte": instant <= last, "lt": instant < first}[limit]


def _instant(text: str) -> int:
    """Microseconds since 1970."""
    moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _span(text: str) -> range:
    start = _instant(text)
    is_day = text == str(date.fromisoformat(text[:10]))
    return range(start, start + (86_400_000_000 if is_day else 1))


def _km(place: str, centre: dict[str, float]) -> float:
    """The angle between unit vectors, times the radius of the Earth."""
    latitude, longitude = np.radians([float(part) for part in place.replace(",", " ").split()])
    other = np.radians([centre["lat"], centre["lon"]])

    def vector(lat: float, lon: float) -> np.ndarray:
        return np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])

    return float(np.arccos(np.clip(vector(latitude, longitude) @ vector(*other), -1, 1)) * 6371.0088)


def _schema(data: list[dict[str, Any]]) -> ColumnSchema:
    evidence = ColumnEvidence()
    example = {"price": 1, "shop": "a", "made (on)": "2024-01-01", "sold": True, "spot": PLACES[0]}
    evidence.see(example)
    return ColumnSchema().merged(evidence.kinds(), {"spot": "place"})


def _points(data: list[dict[str, Any]], schema: ColumnSchema) -> list[Point]:
    vectors = np.random.default_rng(0).normal(size=(len(data), DIMENSION)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    points = []
    for number, row in enumerate(data):
        uri = f"file:///{number}.jpg"
        extra = {name: value for name, value in row.items() if name not in ("label", "bytes")}
        now = "2026-01-01T00:00:00+00:00"
        payload = Payload(uri, row["label"], "0" * 64, 640, 480, row["bytes"], now, now, extra=extra)
        points.append(Point(photo_id(uri), vectors[number], schema.applied(payload)))
    return points


def _check(store: IndexStore, data: list[dict[str, Any]], some: list[dict[str, Any]]) -> None:
    schema = _schema(data)
    points = _points(data, schema)
    with store.open(f"net-{uuid.uuid4().hex[:12]}", DIMENSION) as index:
        index.upsert(points)
        index.index_fields(INDEXED_FIELDS | schema.fields())
        query = np.ones(DIMENSION, np.float32)
        for where in some:
            keep = kept(where, data)
            filter = Filter(where=parse_where(where, schema, lambda text: [f"file:///{text}"]))
            assert [filter.matches(point.payload) for point in points] == keep.tolist()
            expected = {point.id: float(point.vector @ query) / 2 for point in np.array(points)[keep]} if points else {}
            found = index.search(query, len(data), filter)
            assert {hit.id for hit in found} == expected.keys(), where
            assert [hit.score for hit in found] == pytest.approx(sorted(expected.values(), reverse=True), abs=1e-5)


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.lists(rows, min_size=8, max_size=12), some=st.lists(wheres, min_size=12, max_size=15))
def test_engines_agree_with_numpy(store: IndexStore, data: list[Any], some: list[Any]) -> None:
    _check(store, data, some)


def test_of_two_limits_on_one_side_the_stricter_one_counts(store: IndexStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EmbeddedIndex, "INDEXED_POINTS", 0)
    made = [f"2024-01-01T{hour}:00:00" for hour in range(10, 15)]
    data = [{"label": None, "bytes": 1, "price": number / 2, "made (on)": day} for number, day in enumerate(made)]
    pairs = [("gte", "gt"), ("gt", "gte"), ("lte", "lt"), ("lt", "lte")]
    prices = [{"price": {one: 0.5, other: 1.5}} for one, other in pairs]
    days = [{"made (on)": {one: made[1], other: made[3]}} for one, other in pairs]
    _check(store, data, [*prices, *days, {"price": {"gte": 1, "gt": 1}}, {"price": {"lte": 1, "lt": 1}}])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("store", "threshold"),
    [
        pytest.param("embedded", 0, id="embedded, payload indexes"),
        pytest.param("embedded", 1000, id="embedded, no payload indexes"),
        pytest.param("server", 0, id="server"),  # which has them from the first point on
    ],
    indirect=["store"],
)
@settings(max_examples=30, deadline=None, suppress_health_check=[*HealthCheck])
@given(data=st.lists(rows, min_size=1, max_size=40), some=st.lists(wheres, min_size=10, max_size=60))
def test_engines_agree_with_numpy_on_many_filters(
    store: IndexStore, monkeypatch: pytest.MonkeyPatch, threshold: int, data: list[Any], some: list[Any]
) -> None:
    monkeypatch.setattr(EmbeddedIndex, "INDEXED_POINTS", threshold)
    _check(store, data, some)
