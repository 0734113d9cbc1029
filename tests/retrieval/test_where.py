"""The language of filters: what it refuses, and how its conditions are built."""

import json
from pathlib import Path

import pytest

from retrieval.columns.capture import captured
from retrieval.columns.kinds import Kind, classify, parse_date, stored
from retrieval.columns.schema import ColumnSchema
from retrieval.columns.where import columns_of, parse_where
from retrieval.errors import BadQuery
from retrieval.index.conditions import Condition, Field, Not, OneOf, Within

KINDS: dict[str, Kind] = {"price": "number", "shop": "text", "made": "date", "sold": "flag", "spot": "place"}
SCHEMA = ColumnSchema(kinds={**KINDS, "label": "number", "any": "text", "secret": "text"})


def parse(where: object) -> Condition | None:
    return parse_where(where, SCHEMA, lambda text: [f"file:///library/{text}"], hidden=["secret"])


@pytest.mark.parametrize(
    ("where", "message"),
    [
        (
            {"colour": "red"},
            "There is no column colour. The columns are bytes, camera, columns.any, columns.label, ",
        ),
        ({"secret": "x"}, "There is no column secret."),
        ({"columns.secret": "x"}, "There is no column columns.secret."),
        ({"columns.bytes": 1}, "There is no column columns.bytes."),
        ({"shop": {"gte": "a"}}, "shop holds text, for which there is no gte."),
        ({"price": {"prefix": "1"}}, "price holds numbers, for which there is no prefix."),
        ({"price": "10"}, 'price is compared with "10", which is not a number.'),
        ({"price": True}, "price is compared with true, which is not a number."),
        ({"price": 10**400}, "price is compared with a number that is too large."),
        ({"price": [1, None]}, "price is compared with null, which is not a number."),
        ({"shop": 3}, "shop is compared with 3, which is not a text."),
        ({"shop": []}, "The list for shop is empty."),
        ({"shop": {}}, "The object for shop is empty."),
        ({"shop": "\ud800"}, "The text for shop is not valid Unicode."),
        ({"made": "2024-02-30"}, 'made is compared with "2024-02-30", which is not a date.'),
        ({"made": {"lt": "yesterday"}}, 'made is compared with "yesterday", which is not a date.'),
        ({"made": {"lt": "0001-01-01T00:00:00+02:00"}}, "which is not a date."),
        ({"sold": "true"}, 'sold is compared with "true", which is not a flag.'),
        ({"sold": {"exists": 1}}, "exists for sold is 1."),
        ({"spot": "48,11"}, "which is not a place."),
        ({"spot": {"near": {"lat": 48}}}, 'near for spot is {"lat": 48}.'),
        ({"spot": {"near": {"lat": 91, "lon": 0, "km": 1}}}, "which is not a valid place and distance."),
        ({"spot": {"near": {"lat": 1, "lon": 0, "km": 0}}}, "which is not a valid place and distance."),
        ({"any": {}}, "any is {}."),
        ({"any": []}, "any is []."),
        ({"not": {}}, "where has {} in place of an object with conditions."),
        ([], "where has [] in place of an object with conditions."),
        ("[", "where is not JSON"),
        ('{"price": 1e999}', "price is compared with a number that is too large."),
        ('{"price": {"gte": 1}, "price": {"lt": 2}}', "where names price twice in one object."),
        ("[" * 100_000, "where is not JSON"),
        ({"shop": ["a"] * 10_001}, "where has more than 10,000 values."),
        ({"any": [{"shop": ["a"] * 5_001}, {"shop": ["b"] * 5_000}]}, "where has more than 10,000 values."),
        ({"price": [*range(1_001)]}, "where has more than 1,000 conditions."),
        ({"any": [{"not": {"shop": "a"}}] * 1_001}, "where has more than 1,000 conditions."),
    ],
)
def test_a_wrong_filter_is_refused_by_name(where: object, message: str) -> None:
    with pytest.raises(BadQuery) as refused:
        parse(where)
    assert message in str(refused.value)


def test_a_filter_that_is_nested_too_deep_is_refused() -> None:
    where: object = {"price": 1}
    for _ in range(20):
        where = {"not": where}
    with pytest.raises(BadQuery, match="nested deeper"):
        parse(where)


def test_columns_named_like_built_in_ones_have_a_prefix() -> None:
    assert parse({"columns.label": 1}) == Within(Field("columns.number_label", "number"), gte=1, lte=1)
    assert parse({"columns.any": "x"}) == OneOf(Field("columns.text_any", "text"), ("x",))
    assert parse({"columns.price": 1}) == parse({"price": [1]}) == parse('{"price": 1}')
    assert parse({"label": "rose"}) == OneOf(Field("label", "text"), ("rose",))
    assert parse({"path": "a b.jpg"}) == OneOf(Field("uri", "text"), ("file:///library/a b.jpg",))
    assert isinstance(parse({"shop": {"exists": False}}), Not)
    assert parse({}) is parse(None) is parse("{}") is None


def test_a_column_may_have_a_name_that_starts_like_the_prefix() -> None:
    schema = ColumnSchema(kinds={"columns.label": "text", "label": "text", "columns.shop": "text"})
    assert [*columns_of(schema)][-3:] == ["columns.columns.label", "columns.label", "columns.columns.shop"]
    for name, key in (
        ("columns.label", "columns.text_label"),
        ("columns.columns.label", "columns.text_columns-2elabel"),
        ("columns.columns.shop", "columns.text_columns-2eshop"),
        ("columns.shop", "columns.text_columns-2eshop"),
    ):
        assert parse_where({name: "x"}, schema, lambda _: []) == OneOf(Field(key, "text"), ("x",))


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *(("12.5", "number"), ("-3e2", "number"), (7, "number"), ("007", "text"), ("0.5", "number"), ("1_000", "text")),
        *(("nan", "text"), ("True", "flag"), (False, "flag"), ("2024-01-31", "date"), ("2024-13-01", "text")),
        *(("2024-01-31T10:00:00Z", "date"), ("48.1, 11.6", "text"), ("", "text")),
    ],
)
def test_the_kind_of_a_value(value: str | float | bool, kind: Kind) -> None:
    assert classify(value) == kind


def test_values_as_filters_compare_them() -> None:
    assert [stored(value, "number") for value in ("12.5", 7, "007")] == [12.5, 7.0, 7.0]
    assert [stored(value, "number") for value in ("x", True, "1e999")] == [None, None, None]
    assert [stored(value, "flag") for value in ("yes", "0", True, "maybe")] == ["true", "false", "true", None]
    assert [stored(value, "text") for value in (" rose ", 7, 9.5, True, " ")] == ["rose", "7", "9.5", "true", None]
    assert stored("2024-01-31T10:00:00+02:00", "date") == "2024-01-31T08:00:00+00:00"
    assert [stored(value, "place") for value in ("48.1, -11", "91, 0", 3)] == [{"lat": 48.1, "lon": -11.0}, None, None]
    assert stored(["1", "x", 3], "number") == [1.0, 3.0] and stored(["x"], "number") is None
    assert parse_date("9999-12-31T23:59:59-02:00") is None


@pytest.mark.filterwarnings("ignore:.*EXIF")
@pytest.mark.parametrize("data", [b"", b"Exif", b"II*\0", b"MM\0*" + b"\xff" * 40, b"\xff\xd8\xff\xe1\0\x10Exif\0"])
def test_damaged_capture_data_are_left_out(data: bytes) -> None:
    assert captured(data) == {}


def test_a_description_of_every_operator_is_in_the_documentation() -> None:
    text = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
    for operator in ("gte", "gt", "lte", "lt", "near", "prefix", "exists", "any", "not"):
        assert json.dumps(operator) in text
