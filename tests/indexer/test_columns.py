"""The columns of manifests and files, from indexing to filters."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from commands import Command
from PIL import ExifTags, Image

from indexer.corrections import Corrections, PhotoChange
from indexer.index_columns import JobColumns, declared_columns, renew_columns, upgrade_columns
from indexer.jobs import IndexRequest, Job
from indexer.runner import run_job
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.columns.schema import ColumnSchema, read_schema, save_schema
from retrieval.columns.where import parse_where
from retrieval.errors import BadQuery
from retrieval.index import Filter, IndexStore, Payload, VectorIndex
from retrieval.settings import Settings

ROWS = [
    {
        "path": "0.jpg",
        "price": 9.5,
        "shop": "a",
        "made": "2024-01-01",
        "tags": ["x", "y"],
        "code": "007",
        "spot": "48.1,11",
    },
    {"path": "1.jpg", "price": "n/a", "shop": "b", "made": "2024-02-01T10:00:00", "tags": "y", "sold": True},
]


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two photos in different colours, and a manifest with columns of all kinds."""
    for number, row in enumerate(ROWS):
        image = Image.new("RGB", (60, 40 + 40 * number), (200, 90 * number, 30))
        image.paste((10, 200, 10), (5, 5, 20, 30))
        image.save(tmp_path / str(row["path"]), exif=_exif(number))
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return path


def _exif(number: int) -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Canon", f"Canon EOS {number}"
    exif.get_ifd(ExifTags.IFD.Exif).update(
        {
            ExifTags.Base.DateTimeOriginal: f"2024:0{number + 1}:01 10:00:00",
            ExifTags.Base.OffsetTimeOriginal: "+02:00",
        }
    )
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "S", 2: (33.0, 30.0, 0.0), 3: "E", 4: (18.0, 0.0, 36.0)})
    return exif


def index_photos(settings: Settings, store: IndexStore, bundle: Bundle, source: Path, *columns: str) -> Job:
    request = IndexRequest([str(source)], bundle.folder, columns=columns)
    return run_job(settings, store, request, CancellationToken(), lambda _: None).job


def found(index: VectorIndex, where: object) -> set[str]:
    """The names of the photos that a filter keeps."""
    filter = Filter(where=parse_where(where, read_schema(index) or ColumnSchema(), lambda text: [f"file://{text}"]))
    return {photo.uri.rpartition("/")[2] for _, photo in index.scroll_payloads() if filter.matches(photo)}


def test_columns_are_inferred_and_reported(
    settings: Settings, store: IndexStore, bundle: Bundle, manifest: Path, index: VectorIndex
) -> None:
    job = index_photos(settings, store, bundle, manifest)
    expected = {"price": "text", "shop": "text", "made": "date", "tags": "text", "code": "text", "spot": "text"}
    assert job.column_kinds == expected | {"sold": "flag"}
    assert any('The column price has numbers (9.5) and text ("n/a")' in notice for notice in job.notices)
    assert [photo.extra for _, photo in sorted(index.scroll_payloads(), key=lambda pair: pair[1].uri)] == [
        {name: value for name, value in row.items() if name != "path"} for row in ROWS
    ]
    assert found(index, {"tags": "y"}) == {"0.jpg", "1.jpg"}
    assert found(index, {"made": {"lt": "2024-02-01"}}) == {"0.jpg"}
    assert found(index, {"taken": "2024-01-01T08:00:00Z"}) == {"0.jpg"}
    assert found(index, {"camera": {"prefix": "Canon EOS 1"}, "orientation": "portrait"}) == {"1.jpg"}
    assert found(index, {"path": {"prefix": str(manifest.parent)}, "sold": True}) == {"1.jpg"}
    assert found(index, {"place": {"exists": True}}) == set()

    job = index_photos(settings, store, bundle, manifest, "price:number", "place:place", "spot:place", "prize:number")
    assert (job.unchanged, job.column_kinds["price"]) == (2, "number")
    assert "1 values of the column price are not numbers" in " ".join(job.notices)
    assert "No photo that was listed has a column prize." in job.notices
    assert found(index, {"price": {"gte": 9}}) == {"0.jpg"}
    assert found(index, {"spot": {"near": {"lat": 48, "lon": 11, "km": 20}}}) == {"0.jpg"}
    assert found(index, {"place": {"near": {"lat": -33.5, "lon": 18, "km": 2}}}) == {"0.jpg", "1.jpg"}
    with pytest.raises(BadQuery, match="price holds numbers, for which there is no prefix"):
        found(index, {"price": {"prefix": "9"}})

    job = index_photos(settings, store, bundle, manifest)
    assert (job.unchanged, job.column_kinds["price"]) == (2, "number"), "what was declared is kept"
    assert index.removed().count() == 0


def test_an_index_of_an_older_version_gets_its_columns(
    index: VectorIndex, settings: Settings, store: IndexStore, bundle: Bundle, manifest: Path
) -> None:
    index_photos(settings, store, bundle, manifest)
    index.replace_payloads(
        {photo: replace(payload, columns={}, decoder=2) for photo, payload in index.scroll_payloads()}
    )
    index.save_note("columns", "")
    upgrade_columns(index)
    assert found(index, {"made": {"gte": "2024-02-01"}, "orientation": "portrait"}) == {"1.jpg"}
    assert found(index, {"taken": {"exists": True}}) == set(), "files are not read"
    assert index_photos(settings, store, bundle, manifest).unchanged == 2
    assert found(index, {"taken": {"exists": True}}) == {"0.jpg", "1.jpg"}


def test_a_correction_of_a_photo_does_not_keep_an_older_index_from_its_columns(
    index: VectorIndex, settings: Settings, store: IndexStore, bundle: Bundle, manifest: Path
) -> None:
    index_photos(settings, store, bundle, manifest)
    index.replace_payloads({photo: replace(payload, columns={}) for photo, payload in index.scroll_payloads()})
    index.save_note("columns", "")
    photo = next(photo for photo, payload in index.scroll_payloads() if payload.uri.endswith("/0.jpg"))
    Corrections(settings.home).correct(index, photo, PhotoChange(columns={"size": "XL"}))
    assert found(index, {"size": "XL"}) == {"0.jpg"}
    assert index_photos(settings, store, bundle, manifest).unchanged == 2
    assert found(index, {"made": {"gte": "2024-02-01"}, "orientation": "portrait"}) == {"1.jpg"}
    assert found(index, {"size": "XL"}) == {"0.jpg"}


def test_a_column_with_two_kinds_becomes_text_for_all_photos(index: VectorIndex) -> None:
    schema = ColumnSchema().merged({"price": "number"}, {})
    old = schema.applied(Payload("file:///0.jpg", None, "0" * 64, 4, 3, 1, "", "", extra={"price": 9.5}))
    assert old.columns == {"number_price": 9.5, "orientation": "landscape"}
    widened = schema.merged({"price": "text"}, {})
    assert (widened.kinds, widened.outdated) == ({"price": "text"}, True)
    assert widened.applied(old).columns == {"text_price": "9.5", "orientation": "landscape"}
    save_schema(index, widened)
    renew_columns(index)
    assert read_schema(index) == widened.model_copy(update={"outdated": False})


@pytest.mark.parametrize("text", ["price", "price:numbers", ":number", ""])
def test_a_wrong_declaration_is_refused(text: str) -> None:
    with pytest.raises(BadQuery, match="is no column with its kind"):
        declared_columns([text])
    assert JobColumns().seen == {}


def test_columns_on_the_command_line(command: Command, bundle: Bundle, manifest: Path) -> None:
    indexed = command("index", manifest, "--bundle", bundle.folder, "--column", "price:number", "--json")
    assert indexed.status == 0 and indexed.json["column_kinds"]["price"] == "number"
    photo = manifest.parent / "1.jpg"
    found = command("search", photo, "--where", '{"price": {"lt": 10}, "path": {"prefix": "/"}}', "--json")
    assert [Path(result["uri"]).name for result in found.json["results"]] == ["0.jpg"]
    assert found.json["results"][0]["extra"]["code"] == "007"
    wrong = command("search", photo, "--where", '{"prize": 1}')
    assert wrong.status == 1 and "There is no column prize." in wrong.err
    assert command("index", manifest, "--bundle", bundle.folder, "--column", "price").status == 1
