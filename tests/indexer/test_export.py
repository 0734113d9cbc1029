"""`lookalike export` and `lookalike import-vectors`."""

import csv
import json
import sys
from dataclasses import replace
from pathlib import Path

import make
import numpy as np
import pytest
from commands import Command
from disks import small_disk

from indexer.export.back import import_vectors
from indexer.export.formats import require_known_suffix
from indexer.export.run import export
from indexer.index_columns import upgrade_columns
from retrieval.bundle import Bundle, install_bundle
from retrieval.columns.schema import ColumnSchema, read_schema, save_schema
from retrieval.columns.where import parse_where
from retrieval.csv_cells import cell_text
from retrieval.errors import BadQuery, BadSource, LookalikeError
from retrieval.index import IndexStore, Payload, Point, VectorIndex
from retrieval.index.filter import Filter
from retrieval.photo_ref import photo_id
from retrieval.settings import Settings

pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)

EXTRA = [{"price": 3, "sku": "007"}, {"price": 2.5, "new": True}, {"id": "A1", "price": 4}, {}]


def points(dimension: int, count: int = 30) -> list[Point]:
    vectors = np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return [Point(photo_id(f"file:///{at}.jpg"), vector, payload(at)) for at, vector in enumerate(vectors)]


def payload(at: int) -> Payload:
    label = ("=rose", "tulpe-ü", None)[at % 3]
    uri = f"file:///{at}.jpg"
    return Payload(uri, label, f"{at:064x}", 640, 480, at, "t", "t", None, EXTRA[at % 4], ("file:///",), (f"{uri}#2",))


@pytest.fixture
def filled(settings: Settings, store: IndexStore, index: VectorIndex, bundle: Bundle) -> VectorIndex:
    """An index of thirty photos, of the current model."""
    install_bundle(bundle, settings.models_folder)
    index.upsert(points(bundle.dimension))
    upgrade_columns(index)
    store.activate(bundle.model_id)
    return index


def nothing(*_: object) -> None:
    pass


def exported(settings: Settings, store: IndexStore, target: Path, **options: bool) -> Path:
    export(settings, store, target, nothing, **options)
    assert [path.name for path in target.parent.glob(".*")] == []
    return target


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_an_import_gives_back_what_was_exported_bit_by_bit(
    settings: Settings, store: IndexStore, filled: VectorIndex, bundle: Bundle, tmp_path: Path, suffix: str
) -> None:
    before = list(filled.scroll())
    file = exported(settings, store, tmp_path / f"all{suffix}")
    filled.delete([point.id for point in before[3:]])
    done = import_vectors(store, bundle, file, nothing)
    after = list(filled.scroll())
    assert (done.photos, done.current) == (len(before), bundle.model_id)
    assert [(point.id, point.payload) for point in after] == [(point.id, point.payload) for point in before]
    assert all(one.vector.tobytes() == other.vector.tobytes() for one, other in zip(after, before, strict=True))


def test_parquet_has_typed_columns(
    settings: Settings, store: IndexStore, filled: VectorIndex, bundle: Bundle, tmp_path: Path
) -> None:
    table = pq.read_table(exported(settings, store, tmp_path / "all.parquet"))
    names = ["id", "uri", "label", "width", "height", "bytes", "modified_at"]
    names += ["taken", "camera", "orientation", "place"]
    names += ["columns.id", "new", "price", "sku", "kind", "look", "predicted_label", "map_x", "map_y", "payload"]
    assert table.column_names == names
    types = {name: str(table.schema.field(name).type) for name in ("columns.id", "new", "price", "sku", "kind")}
    vector = f"fixed_size_list<element: float>[{bundle.dimension}]"
    assert types == {"columns.id": "string", "new": "bool", "price": "double", "sku": "string", "kind": vector}
    stored = {str(point.id): point for point in filled.scroll()}
    for row in table.to_pylist():
        point = stored[row["id"]]
        assert (row["uri"], row["label"]) == (point.payload.uri, point.payload.label)
        assert row["price"] == point.payload.extra.get("price") and row["columns.id"] == point.payload.extra.get("id")
        assert np.array_equal(np.array(row["kind"], np.float32), point.vector) and row["look"] is None
        assert row["predicted_label"] is row["map_x"] is None


KINDS = {
    "price": "number",
    "sold": "flag",
    "sku": "text",
    "added": "date",
    "where": "place",
    "ean": "number",
    "columns.id": "text",
    "path": "text",
    "modified": "date",
}
LISTS: list[dict] = [
    {"price": "2.50", "sold": "true", "sku": 7, "added": "2024-05-31", "ean": "90071992547409931", "path": "a/1.jpg"},
    {"price": [1, "2.5", "free"], "sold": [True, "no"], "sku": ["a, b", 7, True], "where": ["48.1,11.6", "1,2"]},
    {"price": "free", "sold": "perhaps", "added": ["2024-05-31", "2024-06-01"], "id": "x", "columns.id": "y"},
    {"price": [3], "ean": True, "modified": "2024-05-31", "beyond": ["a"]},
]


@pytest.fixture
def with_lists(filled: VectorIndex) -> list[dict]:
    """The columns of the first photos, some of which have lists of all kinds of columns, or values of other kinds."""
    known = dict(filled.scroll_payloads())
    filled.replace_payloads({id: replace(old, extra=LISTS[at % 4]) for at, (id, old) in enumerate(known.items())})
    save_schema(filled, ColumnSchema(kinds=KINDS, declared=KINDS, incomplete=True))
    upgrade_columns(filled)
    return LISTS


def test_lists_are_columns_of_lists_in_parquet(
    settings: Settings, store: IndexStore, with_lists: list[dict], tmp_path: Path
) -> None:
    table = pq.read_table(exported(settings, store, tmp_path / "all.parquet"))
    types = {name: str(table.schema.field(name).type) for name in ("price", "sold", "sku", "added", "where", "ean")}
    assert types == {
        "price": "list<element: double>",
        "sold": "list<element: bool>",
        "sku": "list<element: string>",
        "added": "list<element: string>",
        "where": "list<element: string>",
        "ean": "double",
    }
    columns = {name: table.column(name).to_pylist()[:4] for name in types}
    assert columns == {
        "price": [[2.5], [1, 2.5], None, [3]],
        "sold": [[True], [True, False], None, None],
        "sku": [["7"], ["a, b", "7", "true"], None, None],
        "added": [["2024-05-31"], None, ["2024-05-31", "2024-06-01"], None],
        "where": [None, ["48.1,11.6", "1,2"], None, None],
        "ean": [9.007199254740994e16, None, None, None],
    }


def test_lists_and_values_of_other_kinds_are_in_json_and_csv(
    settings: Settings, store: IndexStore, with_lists: list[dict], tmp_path: Path
) -> None:
    lines = exported(settings, store, tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()[:4]
    names = ("price", "sold", "sku", "added", "where", "ean", "beyond")
    shown = [{name: row[name] for name in names if row[name] is not None} for row in map(json.loads, lines)]
    assert shown == [
        {"price": 2.5, "sold": True, "sku": "7", "added": "2024-05-31", "ean": 90071992547409931},
        {
            "price": [1, 2.5, "free"],
            "sold": [True, False],
            "sku": ["a, b", "7", "true"],
            "where": ["48.1,11.6", "1,2"],
        },
        {"price": "free", "sold": "perhaps", "added": ["2024-05-31", "2024-06-01"]},
        {"price": [3], "ean": True, "beyond": ["a"]},
    ]
    with exported(settings, store, tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))[:4]
    assert [row["price"] for row in cells] == ["2.5", '[1, 2.5, "free"]', "free", "[3]"]
    assert [row["sold"] for row in cells] == ["True", "[true, false]", "perhaps", ""]
    assert cells[0]["ean"] == "90071992547409931"


def test_columns_with_the_name_of_another_keep_their_values(
    settings: Settings, store: IndexStore, with_lists: list[dict], tmp_path: Path
) -> None:
    lines = exported(settings, store, tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()[:4]
    first, _, third, fourth = map(json.loads, lines)
    assert first["columns.path"] == "a/1.jpg" and fourth["columns.modified"] == "2024-05-31"
    assert (third["columns.id"], third["columns.columns.id"]) == ("x", "y")


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_a_new_index_gets_the_columns_of_the_exported_one(
    settings: Settings,
    store: IndexStore,
    filled: VectorIndex,
    bundle: Bundle,
    with_lists: list[dict],
    tmp_path: Path,
    suffix: str,
) -> None:
    place = {"place": {"lat": 48.1, "lon": 11.6}}
    filled.replace_payloads({id: replace(old, columns=old.columns | place) for id, old in filled.scroll_payloads()})
    before = dict(filled.scroll_payloads())
    assert any("place_where" in payload.columns for payload in before.values())
    file = exported(settings, store, tmp_path / f"all{suffix}")
    filled.delete(list(before))
    filled.save_note("columns", "")
    import_vectors(store, bundle, file, nothing)
    assert dict(filled.scroll_payloads()) == before
    schema = read_schema(filled)
    assert schema is not None and schema.kinds == {**KINDS, "columns.id": "text", "id": "text", "beyond": "text"}


@pytest.mark.parametrize("has_schema", [True, False])
def test_photos_that_were_imported_are_found_by_their_columns(
    settings: Settings, store: IndexStore, filled: VectorIndex, bundle: Bundle, tmp_path: Path, has_schema: bool
) -> None:
    file = exported(settings, store, tmp_path / "all.jsonl")
    filled.delete([photo for photo, _ in filled.scroll_payloads()])
    filled.save_note("columns", ColumnSchema(kinds={"price": "text"}).model_dump_json() if has_schema else "")
    import_vectors(store, bundle, file, nothing)
    schema = read_schema(filled)
    assert schema is not None and schema.kinds["new"] == "flag"
    wanted = parse_where({"price": "4" if has_schema else 4, "id": "A1"}, schema, lambda _: [])
    assert filled.matching(Filter(where=wanted)) == sum(EXTRA[at % 4] == EXTRA[2] for at in range(30))


def test_an_embedding_of_two_parts_has_two_columns(settings: Settings, store: IndexStore, tmp_path: Path) -> None:
    two = install_bundle(make.bundle(tmp_path / "two", look=4), settings.models_folder)
    with store.open(two.model_id, two.dimension, two.look) as index:
        index.upsert(points(two.dimension, 5))
        store.activate(two.model_id)
        table = pq.read_table(exported(settings, store, tmp_path / "all.parquet")).to_pylist()
        stored = [point.vector for point in index.scroll()]
    assert [len(row["look"]) for row in table] == [4] * 5
    assert np.array_equal(np.array([row["kind"] + row["look"] for row in table], np.float32), stored)


def test_csv_and_json_have_the_same_rows(
    settings: Settings, store: IndexStore, filled: VectorIndex, tmp_path: Path
) -> None:
    with exported(settings, store, tmp_path / "all.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    lines = exported(settings, store, tmp_path / "all.jsonl").read_text(encoding="utf-8").splitlines()
    rows = list(map(json.loads, lines))
    assert len(rows) == len(table) == filled.count()
    for row, cells in zip(rows, table, strict=True):
        assert row.keys() == cells.keys()
        assert (row["id"], row["label"] or "") == (cells["id"], cell_text(cells["label"]))
        assert row["kind"] == json.loads(cells["kind"]) and json.loads(row["payload"]) == json.loads(cells["payload"])


def test_npy_has_the_vectors_and_their_ids_beside_it(
    settings: Settings, store: IndexStore, filled: VectorIndex, tmp_path: Path
) -> None:
    vectors = np.load(exported(settings, store, tmp_path / "all.npy"))
    ids = (tmp_path / "all.ids.txt").read_text().split()
    stored = list(filled.scroll())
    assert ids == [str(point.id) for point in stored]
    assert vectors.dtype == np.float32 and np.array_equal(vectors, [point.vector for point in stored])


def test_the_predicted_label_is_that_of_the_neighbours(
    settings: Settings, store: IndexStore, index: VectorIndex, bundle: Bundle, tmp_path: Path
) -> None:
    install_bundle(bundle, settings.models_folder)
    centre = np.eye(bundle.dimension, dtype=np.float32)
    names = [("red", 0), ("red", 0), ("red", 0), ("blue", 1), ("blue", 1), ("red", 1)]
    made = [Payload(f"file:///{at}", label, "0", 1, 1, 1, "t", "t") for at, (label, _) in enumerate(names)]
    index.upsert([Point(photo_id(f"file:///{at}"), centre[side], made[at]) for at, (_, side) in enumerate(names)])
    store.activate(bundle.model_id)
    rows = map(json.loads, exported(settings, store, tmp_path / "all.jsonl", predict=True).read_text().splitlines())
    predicted = {row["uri"]: row["predicted_label"] for row in rows}
    assert predicted["file:///5"] == "blue", "its own label does not vote"
    assert predicted["file:///0"] == "red"


def test_positions_on_the_map_are_exported(
    settings: Settings, store: IndexStore, filled: VectorIndex, bundle: Bundle, tmp_path: Path
) -> None:
    photo = str(next(iter(filled.scroll())).id)
    maps = settings.home / "maps"
    maps.mkdir()
    (maps / f"{bundle.model_id}.json").write_text(json.dumps({"points": {"id": [photo], "x": [0.25], "y": [1]}}))
    rows = list(map(json.loads, exported(settings, store, tmp_path / "all.jsonl").read_text().splitlines()))
    assert {row["id"]: (row["map_x"], row["map_y"]) for row in rows if row["map_x"] is not None} == {photo: (0.25, 1)}


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl", ".csv", ".npy"])
def test_a_full_disk_leaves_no_half_file(
    settings: Settings, store: IndexStore, filled: VectorIndex, bundle: Bundle, tmp_path: Path, suffix: str
) -> None:
    with small_disk(tmp_path / "disk", 4096) as disk:
        (disk / "filling").write_bytes(b"\0" * 4000)
        with pytest.raises(LookalikeError, match=rf"all{suffix} can't be written \(No space left on device\)"):
            export(settings, store, disk / f"all{suffix}", nothing)
        assert [path.name for path in disk.iterdir()] == ["filling"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kind": [1.0]}, "Row 2 of .*kind has 1 numbers, and 16 with this model"),
        ({"kind": [0.5] * 16}, "its vector does not have the length 1"),
        ({"kind": ["a"] * 16}, "Row 2 of .* can't be imported"),
        ({"id": "7"}, "Row 2 of .*badly formed hexadecimal UUID string"),
        ({"id": 7}, "Row 2 of .*its id is not text"),
        ({"uri": 7}, "Row 2 of .*its uri is not text"),
        ({"label": ["rose"]}, "Row 2 of .*its label is not text"),
        ({"payload": "{"}, "Row 2 of .* can't be imported"),
        ({"payload": "{}"}, "Row 2 of .*payload is damaged"),
        ({"payload": None}, "Row 2 of .* can't be imported"),
        ({"uri": ...}, "it has no 'uri'"),
    ],
)
def test_a_wrong_row_is_named(
    settings: Settings, store: IndexStore, filled: VectorIndex, bundle: Bundle, tmp_path: Path, change: dict, says: str
) -> None:
    file = exported(settings, store, tmp_path / "all.jsonl")
    first, second, *_ = map(json.loads, file.read_text().splitlines())
    wrong = {name: value for name, value in (second | change).items() if value is not ...}
    file.write_text("\n".join(map(json.dumps, (first, wrong))))
    with pytest.raises(BadSource, match=says):
        import_vectors(store, bundle, file, nothing)


def test_other_files_and_models_are_refused(
    settings: Settings, store: IndexStore, filled: VectorIndex, bundle: Bundle, tmp_path: Path
) -> None:
    file = exported(settings, store, tmp_path / "all.parquet")
    other = make.bundle(tmp_path / "other", seed=5)
    with pytest.raises(BadSource, match=f"has the vectors of the model {bundle.model_id}"):
        import_vectors(store, other, file, nothing)
    for name, content, says in (
        ("a.parquet", b"PAR1", "was not written by `lookalike export`"),
        ("latin.jsonl", b'{"label": "ros\xe9"}', "was not written by `lookalike export`"),
        ("a.jsonl", b"[1]\n", "line 1 is not a JSON object"),
        ("b.jsonl", b"{\n", "line 1 is not JSON"),
        ("a.csv", b"", "neither a .parquet nor a .jsonl file"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(BadSource, match=says):
            import_vectors(store, bundle, tmp_path / name, nothing)
    with pytest.raises(BadSource, match=r"can't be read \(No such file"):
        import_vectors(store, bundle, tmp_path / "missing.jsonl", nothing)


def test_the_commands(
    settings: Settings, store: IndexStore, filled: VectorIndex, bundle: Bundle, command: Command, tmp_path: Path
) -> None:
    filled.close()
    file = tmp_path / "all.parquet"
    done = json.loads(command("export", "--to", file, "--json").out)
    assert (done["to"], done["model"], done["photos"]) == (str(file), bundle.model_id, 30)
    again = json.loads(command("import-vectors", file, "--model", bundle.model_id, "--json").out)
    assert again == {"model": bundle.model_id, "photos": 30, "current": bundle.model_id}
    refused = command("export", "--to", tmp_path / "all.xlsx")
    assert refused.status == 1 and "Use one of .parquet, .jsonl, .csv, .npy" in refused.err
    unknown = command("import-vectors", file, "--model", "net-1")
    assert unknown.status == 1 and "net-1" in unknown.err
    store.open(bundle.model_id, bundle.dimension)  # for the fixture, which closes it


def test_parquet_is_an_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(BadQuery, match=r"Install the extra `lookalike\[parquet\]`"):
        require_known_suffix(tmp_path / "all.parquet")
