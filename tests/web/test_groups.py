"""`group_by` and `diversity`: one result for each product, and results that differ from each other."""

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from typing import Any

import numpy as np
import pytest
from serving import Site

from retrieval.columns.schema import ColumnSchema, save_schema
from retrieval.diversity import diverse_order
from retrieval.index import Payload
from retrieval.photo_ref import file_name
from web.services import EXTENSION

SEARCH = "/api/v1/search"
SCHEMA = ColumnSchema(kinds={"product": "number", "shop": "text", "added": "date"})


def columns_of(payload: Payload) -> dict[str, Any]:
    """Two products of each label, four photos each; the last photo of each label has no product."""
    number = int(file_name(payload.uri).partition(".")[0])
    product = {} if number == 7 else {"product": "red green blue".find(payload.label or "") * 10 + number // 4}
    return {"shop": "north" if number % 2 else "south", "added": "2026-01-02", **product}


@pytest.fixture
def shop(own: Site) -> Iterator[Site]:
    """A site whose photos have products and shops."""
    index = own.searcher.index
    photos = {photo: replace(known, extra=columns_of(known)) for photo, known in index.scroll_payloads()}
    index.replace_payloads({photo: SCHEMA.applied(known) for photo, known in photos.items()})
    save_schema(index, SCHEMA)
    yield own


def found(site: Site, **options: Any) -> list[dict[str, Any]]:
    response = site.client.post(SEARCH, json={"vector": [1.0] * site.searcher.index.dimension, "k": 100, **options})
    assert response.status_code == 200, response.text
    return list(response.get_json()["results"])


def test_each_product_has_its_nearest_photo_and_the_number_of_others(shop: Site) -> None:
    everything, grouped = found(shop), found(shop, group_by="product")
    nearest: dict[int, dict[str, Any]] = {}
    for one in everything:
        if "product" in one["extra"]:
            nearest.setdefault(one["extra"]["product"], one)
    with_product = [one for one in grouped if "product" in one["extra"]]
    assert [one["id"] for one in with_product] == [one["id"] for one in nearest.values()] and len(nearest) == 6
    assert sorted(one["more"] for one in with_product) == [2, 2, 2, 3, 3, 3]
    alone = [one for one in grouped if "product" not in one["extra"]]
    assert [one["more"] for one in alone] == [0, 0, 0], "a photo without a product is a group by itself"
    assert {one["more"] for one in everything} == {None}


def test_pages_of_groups_continue_each_other(shop: Site) -> None:
    whole = [one["id"] for one in found(shop, group_by="product")]
    pages = [one["id"] for at in (0, 4, 8) for one in found(shop, group_by="product", k=4, offset=at)]
    assert pages == whole


def test_groups_count_only_what_the_filter_matches_and_not_the_query(shop: Site) -> None:
    odd = found(shop, group_by="product", where={"shop": "north"}, label=["red"])
    assert sorted(one["more"] for one in odd) == [0, 0, 1], "photos 1 and 3 of a product, 5 of another, 7 of none"
    query = shop.photos[0]
    similar = shop.client.get(f"/api/v1/images/{query.id}/similar?group_by=product&k=100").get_json()["results"]
    assert sorted(one["more"] for one in similar if one["label"] == query.label and "product" in one["extra"]) == [2, 2]
    by_shop = found(shop, group_by="shop")
    assert [one["more"] for one in by_shop] == [11, 11] and len({one["extra"]["shop"] for one in by_shop}) == 2
    assert len(found(shop, group_by="label")) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"group_by": "colour"}, "There is no column colour."),
        ({"group_by": "added"}, "Results can't be grouped by added."),
        ({"group_by": "path"}, "Results can't be grouped by path."),
        ({"diversity": 2}, "diversity"),
    ],
)
def test_a_wrong_option_is_explained(shop: Site, options: dict[str, Any], says: str) -> None:
    response = shop.client.post(SEARCH, json={"id": str(shop.photos[0].id), **options})
    assert response.status_code == 422 and says in response.get_json()["detail"]


def test_a_hidden_column_groups_nothing(shop: Site) -> None:
    client = shop.client
    served = client.application.extensions[EXTENSION]
    served.settings = served.settings.model_copy(update={"hidden_columns": ("product",)})
    response = client.post(SEARCH, json={"id": str(shop.photos[0].id), "group_by": "product"})
    assert response.status_code == 422 and "There is no column product" in response.get_json()["detail"]


def test_diverse_results_differ_more_from_each_other(shop: Site) -> None:
    plain, diverse = found(shop, k=6), found(shop, k=6, diversity=0.7)
    assert plain[0]["id"] == diverse[0]["id"], "the nearest stays first"

    def mean_similarity(results: list[dict[str, Any]]) -> float:
        stored = shop.searcher.index.vectors([uuid.UUID(one["id"]) for one in results])
        rows = np.stack(list(stored.values()))
        return float((rows @ rows.T).mean())

    assert mean_similarity(diverse) < mean_similarity(plain)
    assert [one["id"] for one in found(shop, diversity=0)] == [one["id"] for one in found(shop)]
    pages = [one["id"] for at in (0, 3) for one in found(shop, k=3, offset=at, diversity=0.7)]
    assert pages == [one["id"] for one in diverse]
    assert sorted(one["id"] for one in found(shop, diversity=1)) == sorted(one["id"] for one in found(shop))


def test_the_order_is_that_of_maximal_marginal_relevance() -> None:
    angles = np.radians([0, 5, 60, 62])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    scores = rows @ rows[0]
    assert diverse_order(scores, rows, 0) == [0, 1, 2, 3]
    assert diverse_order(scores, rows, 0.5)[:2] == [0, 1], "(1 - 0.5) · s - 0.5 · s is 0 for all after the first"
    assert diverse_order(scores, rows, 0.8)[:2] == [0, 3]
    assert diverse_order(scores[:0], rows[:0], 0.5) == []


def test_forms_and_queries_take_both(shop: Site) -> None:
    query = {"group_by": "shop", "diversity": "0.5", "where": json.dumps({"shop": "north"})}
    similar = shop.client.get(f"/api/v1/images/{shop.photos[0].id}/similar", query_string=query).get_json()["results"]
    assert [one["more"] for one in similar] == [11]


def cards(text: str) -> list[str]:
    """The ids of the photos in the grids of a page."""
    return re.findall(r'class="card" href="/photo/([0-9a-f-]+)"', text)


def links_to_groups(text: str) -> list[tuple[str, int]]:
    """The links of a page that open a group, and the numbers of further photos that they name."""
    found = re.findall(r'class="others"><a href="([^"]+)">([0-9,]+) more', text)
    return [(unescape(link), int(count)) for link, count in found]


def test_the_page_shows_a_card_per_group_and_a_link_that_opens_it(shop: Site) -> None:
    client, query = shop.client, shop.photos[0]
    for column in ("product", "shop", "label"):
        page = client.get(f"/?id={query.id}&group_by={column}&min_score=0.1").text
        similar = client.get(f"/api/v1/images/{query.id}/similar?group_by={column}&k=100&min_score=0.1").get_json()
        assert cards(page) == [one["id"] for one in similar["results"]]
        assert f'<option value="{column}" selected>' in page and '<option value="added"' not in page
        counts = [one["more"] for one in similar["results"] if one["more"]]
        links = links_to_groups(page)
        assert [count for _, count in links] == counts and counts
        for link, count in links:
            assert len(cards(client.get(link).text)) == count + 1, link
    page = client.get(f"/?id={query.id}&group_by=product&only=shop%3Dnorth&to.product=9&label=red").text
    ((link, count),) = links_to_groups(page)
    assert count == 1 and "only=shop" in link and "label=red" in link
    assert len(cards(client.get(link).text)) == 2, "the other filters stay"


def test_the_page_shows_diverse_results_and_a_group_of_another_index(shop: Site) -> None:
    client, query = shop.client, shop.photos[0]
    page = client.get(f"/?id={query.id}&diverse=1").text
    similar = client.get(f"/api/v1/images/{query.id}/similar?k=24&diversity=0.5").get_json()
    assert cards(page) == [one["id"] for one in similar["results"]]
    assert "checked> Diverse results" in page and page.count('data-band="all"') == 1
    plain = client.get(f"/?id={query.id}").text
    for column in ("colour", "added"):
        other = client.get(f"/?id={query.id}&group_by={column}")
        assert other.status_code == 200 and cards(other.text) == cards(plain)
        assert f"can't be grouped by “<bdi>{column}</bdi>”" in other.text
