"""`where` over HTTP: in JSON, forms and queries, and columns that are hidden."""

import html
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, get_args

import pytest
from serving import Site
from werkzeug.test import TestResponse

from indexer.batch import BatchResult, Failure
from indexer.jobs import IndexRequest, JobRecord
from retrieval.columns.schema import ColumnSchema, save_schema
from retrieval.photo_ref import file_name
from web.page import photos
from web.schemas.browsing import Sort
from web.services import EXTENSION

SEARCH = "/api/v1/search"


@pytest.fixture
def priced(own: Site) -> Iterator[Site]:
    """A site with the columns price and buyer; the price is the number in the name of the file."""
    schema = ColumnSchema(kinds={"price": "number", "buyer": "text"})
    index = own.searcher.index
    extras = {
        photo: replace(payload, extra={"price": int(file_name(payload.uri).partition(".")[0]), "buyer": "Ann"})
        for photo, payload in index.scroll_payloads()
    }
    index.replace_payloads({photo: schema.applied(payload) for photo, payload in extras.items()})
    save_schema(index, schema)
    yield own


def names(response: TestResponse) -> set[str]:
    assert response.status_code == 200, response.text
    return {f"{result['label']}/{file_name(result['path'])}" for result in response.get_json()["results"]}


def test_where_filters_every_kind_of_search(priced: Site) -> None:
    client, photo = priced.client, priced.photos[0]
    where: dict[str, Any] = {"price": {"lte": 1}, "not": {"label": "red"}}
    expected = {
        f"{one.label}/{one.path.name}" for one in priced.photos if int(one.path.stem) <= 1 and one.label != "red"
    }
    found = client.post(SEARCH, json={"vector": [1.0] * priced.searcher.index.dimension, "k": 100, "where": where})
    assert names(found) == expected
    assert all(result["extra"].keys() == {"price", "buyer"} for result in found.get_json()["results"])
    form = {"image": (io.BytesIO(photo.path.read_bytes()), "a.jpg"), "k": 100, "where": json.dumps(where)}
    assert names(client.post(SEARCH, data=form)) == expected
    similar = f"/api/v1/images/{photo.id}/similar"
    query = {"k": 100, "where": json.dumps(where)}
    assert names(client.get(similar, query_string=query)) == expected - {f"{photo.label}/{photo.path.name}"}
    only_green = names(client.get(similar, query_string={**query, "label": "green"}))
    assert only_green == {name for name in expected if name.startswith("green/")} - {f"{photo.label}/{photo.path.name}"}
    path = client.get(f"/api/v1/images/{photo.id}").get_json()["path"]
    assert names(client.post(SEARCH, json={"id": str(priced.photos[1].id), "where": {"path": path}})) <= {
        f"{photo.label}/{photo.path.name}"
    }


@pytest.mark.parametrize(
    ("where", "detail"),
    [
        ({"colour": "red"}, "There is no column colour."),
        ({"price": {"prefix": "1"}}, "price holds numbers, for which there is no prefix."),
        ({"taken": "2024-02-30"}, 'taken is compared with "2024-02-30", which is not a date.'),
    ],
)
def test_a_wrong_filter_is_a_problem_that_names_the_columns(where: Any, detail: str, priced: Site) -> None:
    answer = priced.client.post(SEARCH, json={"id": str(priced.photos[0].id), "where": where})
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert detail in answer.get_json()["detail"]
    assert "orientation" in answer.get_json()["remedy"] or "colour" not in detail
    similar = f"/api/v1/images/{priced.photos[0].id}/similar"
    assert priced.client.get(similar, query_string={"where": "{"}).status_code == 422


def test_hidden_columns_are_for_writers(priced: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    services = priced.app.extensions[EXTENSION]
    monkeypatch.setattr(services, "settings", services.settings.model_copy(update={"hidden_columns": ("buyer",)}))
    photo = f"/api/v1/images/{priced.photos[0].id}"
    body = {"id": str(priced.photos[0].id), "k": 1, "where": {"buyer": "Ann"}}
    refused = priced.client.post(SEARCH, json=body)
    assert refused.status_code == 422 and "There is no column buyer" in refused.get_json()["detail"]
    assert "buyer" not in priced.client.get(photo).get_json()["extra"]
    key = {"Authorization": f"Bearer {services.keys[0].secret}"}
    found = priced.client.post(SEARCH, json=body, headers=key)
    assert [result["extra"]["buyer"] for result in found.get_json()["results"]] == ["Ann"]
    assert priced.client.get(photo, headers=key).get_json()["extra"]["buyer"] == "Ann"


def test_nothing_else_tells_of_hidden_columns(priced: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    services = priced.app.extensions[EXTENSION]
    request = IndexRequest(["photos"], columns=["buyer:text"])
    record = JobRecord(priced.settings.jobs_folder, request, priced.searcher.index.model)
    failure = Failure("file:///photos/m.csv#line=2", "m.csv, line 2: buyer is [5, {}].")
    record.count(BatchResult(1, 0, failures=(failure,)))
    record.job.notices = ['The column buyer has text ("Ann") and numbers (5).', "The column price has text."]
    record.job.column_kinds = {"buyer": "text", "price": "number"}
    record.end("done")
    job, photo = f"/api/v1/jobs/{record.job.id}", f"/api/v1/images/{priced.photos[0].id}"
    version = priced.client.get(photo).get_json()["version"]

    hidden = {"hidden_columns": ("buyer", "taken")}
    monkeypatch.setattr(services, "settings", services.settings.model_copy(update=hidden))
    for address in ("/api/v1/jobs", job, f"{job}/failures", f"{job}/events", "/jobs", "/photos?sort=taken"):
        text = priced.client.get(address).get_data(as_text=True)
        assert not re.search("buyer|Ann|value=.-?taken", text), address
    assert "The column price has text." in priced.client.get(job).get_json()["notices"]
    assert priced.client.get("/api/v1/images?sort=-taken").status_code == 422
    assert priced.client.get(photo).get_json()["version"] != version, "a reader could guess values by it"

    key = {"Authorization": f"Bearer {services.keys[0].secret}"}
    assert priced.client.get(job, headers=key).get_json()["column_kinds"] == {"buyer": "text", "price": "number"}
    assert "buyer" in priced.client.get(f"{job}/failures", headers=key).get_data(as_text=True)
    assert priced.client.get("/api/v1/images?sort=-taken", headers=key).status_code == 200
    assert priced.client.get(photo, headers=key).get_json()["version"] == version


def test_the_page_offers_filters_and_keeps_them_in_its_address(priced: Site) -> None:
    photo = priced.photos[0]
    start = priced.client.get("/", query_string={"id": str(photo.id)})
    page = start.get_data(as_text=True)
    assert 'name="only" value="buyer=Ann"' not in page, "one value is nothing to choose from"
    assert '<input type="number" name="from.price" value="" step="any">' in page
    assert re.search(r'name="only" value="orientation=\w+"', page) is None
    filtered = priced.client.get(
        "/", query_string={"id": str(photo.id), "from.price": "1", "to.price": "2", "only": ["buyer=Ann"]}
    ).get_data(as_text=True)
    assert 'name="from.price" value="1"' in filtered
    assert 'value="buyer=Ann" checked' in filtered
    assert "from.price=1&amp;to.price=2" in filtered or "to.price=2" in filtered
    names = set(re.findall(r"(\d+)\.jpg", filtered[filtered.index('class="neighbours"') :]))
    assert names and names <= {"1", "2"}


@pytest.mark.parametrize(
    "query", [{"only": "colour=red"}, {"from.size": "1"}, {"from.price": "x"}, {"only": "price=red"}]
)
def test_a_link_with_a_filter_of_another_index_is_shown_without_it(priced: Site, query: dict[str, str]) -> None:
    answer = priced.client.get("/", query_string={"id": str(priced.photos[0].id), **query})
    assert answer.status_code == 200
    page = answer.get_data(as_text=True)
    assert "with such values. The filter was removed." in page and 'class="card' in page


def test_a_column_with_many_values_is_not_a_list_of_them(priced: Site) -> None:
    index, schema = priced.searcher.index, ColumnSchema(kinds={"code": "text", "size": "text"})
    photos = {
        photo: replace(payload, extra={"code": f"c{number}", "size": "SML"[number % 3]})
        for number, (photo, payload) in enumerate(index.scroll_payloads())
    }
    index.replace_payloads({photo: schema.applied(payload) for photo, payload in photos.items()})
    save_schema(index, schema)
    page = priced.client.get("/", query_string={"id": str(priced.photos[0].id)}).get_data(as_text=True)
    assert 'value="size=M"' in page and ('value="code=c1"' in page) == (len(photos) <= 20)


def test_photos_are_listed_without_a_query(priced: Site) -> None:
    query = {"where": json.dumps({"price": {"lte": 1}}), "sort": "-name", "limit": 2}
    answer = priced.client.get("/api/v1/images", query_string=query).get_json()
    expected = [photo for photo in priced.photos if int(photo.path.stem) <= 1]
    assert answer["total"] == len(expected) and [file_name(one["path"]) for one in answer["images"]] == ["1.jpg"] * 2
    assert answer["images"][0]["extra"] == {"price": 1, "buyer": "Ann"}
    assert priced.client.get("/api/v1/images?q=0.JPG&label=red").get_json()["total"] == 1
    assert priced.client.get("/api/v1/images?sort=size").status_code == 422
    refused = priced.client.get("/api/v1/images", query_string={"where": '{"colour": 1}'})
    assert refused.status_code == 422 and "There is no column colour" in refused.get_json()["detail"]


def test_pages_of_the_list_continue_after_each_other(priced: Site) -> None:
    def labels(sort: str) -> list[str]:
        found, after = {}, ""
        while after is not None:
            query = {"sort": sort, "limit": 5, "after": after}
            page = priced.client.get("/api/v1/images", query_string=query).get_json()
            found |= {one["id"]: one["label"] for one in page["images"]}
            after = page["next"]
        assert len(found) == len(priced.photos)
        return list(found.values())

    assert labels("label") == sorted(labels(""))
    assert labels("-label") == sorted(labels(""), reverse=True)
    refused = priced.client.get("/api/v1/images?sort=name&after=5")
    assert refused.status_code == 422 and "Use `next` of the page before" in refused.get_json()["remedy"]


def test_the_page_continues_beyond_the_largest_offset(priced: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "MAX_OFFSET", 3)
    monkeypatch.setattr(photos, "PAGE_SIZE", 3)
    found, address = [], "/photos?sort=name"
    while address:
        page = priced.client.get(address).get_data(as_text=True)
        found += re.findall(r'class="card" href="([^"]+)"', page)
        links = re.findall(r'href="([^"]+)" data-plain>Next', page)
        address = html.unescape(links[0]) if links else ""
        assert ("after=" in address) == (len(found) > 3 and bool(address))
    assert len(found) == len(set(found)) == len(priced.photos)


def test_the_page_lists_photos_without_a_query(priced: Site) -> None:
    page = priced.client.get("/photos?sort=-name&q=.jpg&to.price=1").get_data(as_text=True)
    expected = [photo for photo in priced.photos if int(photo.path.stem) <= 1]
    assert f"{len(expected)} photos</h1>" in page and page.count('class="card"') == len(expected)
    assert '<option value="-taken">' in page and 'name="to.price" value="1"' in page and ">Next</a>" not in page
    assert "The filter was removed." in priced.client.get("/photos?only=colour%3Dred").get_data(as_text=True)
    assert priced.client.get("/photos?sort=size").status_code == 422


@pytest.mark.parametrize("sort", get_args(Sort))
def test_the_page_shows_the_order_of_its_address(shared: Site, sort: str) -> None:
    page = shared.client.get(f"/photos?sort={sort}").get_data(as_text=True)
    assert re.findall(r'<option value="([^"]*)" selected>', page) == [sort]
