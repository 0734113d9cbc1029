"""Uploaded queries on the server: each page of the results uses the exact embedding, for a limited time."""

import hashlib
import io
import os
import re
import time
from html import unescape
from urllib.parse import parse_qs, urlsplit

import make
import numpy as np
import pytest
from flask.testing import FlaskClient
from PIL import Image
from serving import Site, client_of

from retrieval.index.vectors import Vector
from retrieval.search import Searcher
from retrieval.settings import Settings
from web import kept_queries
from web.kept_queries import KeptQueries, KeptQuery
from web.page.address import decode_vector, encode_int8

PHOTO = make.encoded(make.photo("green", 77))
QUERY = KeptQuery(np.arange(3, dtype=np.float32), PHOTO, b"preview")


@pytest.fixture
def searched(monkeypatch: pytest.MonkeyPatch) -> list[Vector]:
    """The embeddings by which pages search."""
    found, by_examples = [], Searcher.by_examples

    def watched(self: Searcher, *args: object, unindexed: list[Vector], **options: object) -> object:
        found.extend(unindexed)
        return by_examples(self, *args, unindexed=unindexed, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Searcher, "by_examples", watched)
    return found


def upload(client: FlaskClient) -> str:
    """Search by a photo; returns the address of the results."""
    page = client.post("/", data={"image": (io.BytesIO(PHOTO), "photo.jpg")})
    (address,) = re.findall(r'data-address="([^"]+)"', page.text)
    return unescape(address)


def test_another_part_of_a_kept_photo_is_searched_without_sending_it_again(own: Site) -> None:
    part = own.client.post("/", data={"image": (io.BytesIO(PHOTO), "photo.jpg"), "crop": "0,0,0.5,0.5"})
    (address,) = re.findall(r'data-address="([^"]+)"', part.text)
    whole = own.client.post("/", data={"kept": token_of(unescape(address))})
    assert whole.status_code == 200
    results = re.compile(r'class="card" href="([^"]+)"')
    assert results.findall(whole.text) == results.findall(own.client.get(upload(own.client)).text)
    gone = own.client.post("/", data={"kept": "0" * 32})
    assert gone.status_code == 422


def test_a_smaller_copy_of_an_indexed_photo_is_recognized_by_the_hash_of_its_file(own: Site) -> None:
    data = own.photos[0].path.read_bytes()
    smaller = make.encoded(Image.open(own.photos[0].path).resize((100, 75)))
    sent = {"image": (io.BytesIO(smaller), "photo.jpg"), "sha256": hashlib.sha256(data).hexdigest()}
    page = own.client.post("/", data=sent)
    assert "This photo is in the collection" in page.text
    (address,) = re.findall(r'data-address="([^"]+)"', page.text)
    assert "This photo is in the collection" in own.client.get(unescape(address)).text


def token_of(address: str) -> str:
    return parse_qs(urlsplit(address).query)["kept"][0]


def kept(settings: Settings) -> list[str]:
    return sorted(path.name for path in (settings.home / "queries").glob("*"))


def test_each_page_searches_by_the_exact_embedding(own: Site, searched: list[Vector]) -> None:
    exact, _ = own.searcher.embed(PHOTO)
    address = upload(own.client)
    for offset in (0, 8, 16):
        client_of(own).get(f"{address}&offset={offset}")  # another process of the server, say
    assert len(searched) == 4
    assert all(np.array_equal(vector, exact) for vector in searched)


def test_a_link_shows_the_photo_and_the_form_keeps_it(own: Site) -> None:
    address = upload(own.client)
    page = own.client.get(address).text
    assert 'src="data:image/jpeg;base64,' in page and "kept for 60 minutes" in own.client.get("/").text
    assert f'name="kept" value="{token_of(address)}"' in page
    assert f"kept={token_of(address)}" in "".join(re.findall(r'data-address="([^"]+)"', page))


def test_an_old_query_is_deleted_and_its_link_works_on(own: Site, searched: list[Vector]) -> None:
    address = upload(own.client)
    (name,) = kept(own.settings)
    an_hour_ago = time.time() - 3601
    os.utime(own.settings.home / "queries" / name, (an_hour_ago, an_hour_ago))
    page = own.client.get(address)
    assert page.status_code == 200 and "no longer kept" in page.text
    assert searched[0] @ searched[1] > 0.999999 and not np.array_equal(*searched)
    KeptQueries(own.settings).sweep()
    assert kept(own.settings) == []


def test_if_nothing_is_kept_all_pages_search_by_the_embedding_in_the_address(own: Site, searched: list[Vector]) -> None:
    client = client_of(own, query_keep_minutes=0)
    address = upload(client)
    assert "kept=" not in address and "It is not stored" in client.get("/").text
    for offset in (8, 16):
        client.get(f"{address}&offset={offset}")
    assert len(searched) == 3
    assert all(np.array_equal(vector, searched[0]) for vector in searched)
    assert kept(own.settings) == []


def test_an_address_of_an_earlier_version_works(own: Site, searched: list[Vector]) -> None:
    exact, _ = own.searcher.embed(PHOTO)
    link = {"vector": encode_int8(exact), "model": own.searcher.index.model}
    assert own.client.get("/", query_string=link).status_code == 200
    assert np.array_equal(searched[0], decode_vector(encode_int8(exact), len(exact)))


@pytest.mark.parametrize("token", ["", "0" * 32, "../uploads", "%2e%2e%2fapi-key", "z" * 32, "é"])
def test_an_unknown_token_is_not_needed(own: Site, token: str) -> None:
    address = upload(own.client)
    assert own.client.get(address.replace(token_of(address), token)).status_code == 200


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04", None])
def test_a_damaged_query_is_not_found(settings: Settings, content: bytes | None) -> None:
    queries = KeptQueries(settings)
    token = queries.keep(QUERY)
    found = queries.find(token)
    assert found is not None and (found.photo, found.preview) == (PHOTO, b"preview")
    path = settings.home / "queries" / f"{token}.npz"
    path.write_bytes(path.read_bytes()[:-30] if content is None else content)
    assert queries.find(token) is None


def test_a_query_with_a_damaged_byte_is_not_found(settings: Settings) -> None:
    queries = KeptQueries(settings)
    path = settings.home / "queries" / f"{queries.keep(QUERY)}.npz"
    data = bytearray(path.read_bytes())
    data[data.index(b"PK\x01\x02") + 6] = 93  # of the archive's format: a later version than any
    path.write_bytes(data)
    assert queries.find(path.stem) is None


def test_the_kept_queries_are_limited(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    queries = KeptQueries(settings)
    tokens = []
    for second in range(5):
        tokens.append(queries.keep(QUERY))
        path = settings.home / "queries" / f"{tokens[-1]}.npz"
        os.utime(path, (time.time() - 10 + second,) * 2)
    monkeypatch.setattr(kept_queries, "MOST_BYTES", 2.5 * path.stat().st_size)
    queries.sweep()
    assert [queries.find(token) is not None for token in tokens] == [False] * 3 + [True] * 2


def test_a_query_that_can_not_be_kept_is_searched_all_the_same(own: Site) -> None:
    (own.settings.home / "queries").write_text("a file")
    address = upload(own.client)
    assert "kept=" not in address and own.client.get(address).status_code == 200
