"""Searches by words and by mixed terms: searcher, command, API and page."""

import base64
import io
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

import make
import numpy as np
import pytest
from commands import Command
from flask.testing import FlaskClient
from serving import Site, fill_index, site
from tokenizers import Tokenizer

from indexer.index_calibration import calibrate
from retrieval.bundle import Bundle, install_bundle, load_bundle, write_bundle
from retrieval.current_model import open_searcher
from retrieval.decoder import PhotoDecoder
from retrieval.embedder import Embedder
from retrieval.errors import BadQuery, NotFound
from retrieval.index import Filter, Payload, Point, open_store
from retrieval.index.vectors import Vector, to_unit_length
from retrieval.label_words import LabelWords
from retrieval.photo_ref import photo_id
from retrieval.search import SearchParameters
from retrieval.settings import Settings
from retrieval.terms import Term
from retrieval.text_embedder import TextEmbedder
from web.app import create_app

SEARCH = "/api/v1/search"
BROWSER = {"Accept": "text/html"}


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory, two_towers: Bundle, library: Path) -> Iterator[Site]:
    settings = Settings(home=tmp_path_factory.mktemp("home"), embedding_threads=1)
    with site(settings, two_towers, library) as built:
        yield built


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory, two_towers: Bundle) -> Iterator[Site]:
    """An index of photos that the names of their labels describe, and of roses without labels."""
    settings = Settings(home=tmp_path_factory.mktemp("named"), embedding_threads=1)
    embedder, random = Embedder(two_towers, threads=1), np.random.default_rng(0)
    install_bundle(two_towers, settings.models_folder)
    texts = TextEmbedder(two_towers.tokenizer, two_towers.text_network, threads=1).embed([*NAMES, "a rose"])
    shown = to_unit_length(texts - texts[:-1].mean(axis=0))
    with open_store(settings) as store:
        with store.open(two_towers.model_id, two_towers.dimension) as index:
            photos = [(label, shown[at]) for at, label in enumerate(NAMES)] * 15 + [(None, shown[-1])] * 15
            index.upsert([point(number, *photo, random) for number, photo in enumerate(photos)])
            calibrate(index, embedder, PhotoDecoder())
        store.activate(two_towers.model_id)
    with open_store(settings) as store, open_searcher(settings, store) as searcher:
        yield Site(create_app(settings, store, searcher, local=True), settings, store, searcher, [])


NAMES = ("a red tulip", "two dogs on the beach", "fruit on a table", "an old house")


def point(
    number: int, label: str | None, vector: np.ndarray, random: np.random.Generator, noise: float = 0.08
) -> Point:
    uri = f"file:///gone/{number}.jpg"
    noisy = to_unit_length((vector + noise * random.normal(size=len(vector))).astype(np.float32))
    return Point(photo_id(uri), noisy, Payload(uri, label, f"{number:064x}", 64, 48, 1, "t", "t"))


def shown(page: str) -> list[str]:
    """The ids of the results of a page."""
    return re.findall(r'class="card" href="/photo/([0-9a-f-]+)"', page)


def scores(found: list) -> np.ndarray:
    return np.array([result.score for result in found])


def test_words_find_the_photos_nearest_to_their_embedding(words: Site) -> None:
    searcher = words.searcher
    response = searcher.by_words("a red tulip", SearchParameters(k=24))
    vector, _ = searcher.embed_text("a red tulip")
    stored = searcher.index.vectors([result.id for result in response.results])
    expected = [float(vector @ stored[result.id]) for result in response.results]
    np.testing.assert_allclose(scores(response.results), expected, atol=1e-5)
    assert expected == sorted(expected, reverse=True)
    assert response.bands is None and response.predicted_label is None and response.close_match is None


def test_terms_are_weighted_and_summed_and_indexed_photos_are_left_out(words: Site) -> None:
    searcher, photo = words.searcher, words.photos[3]
    terms = [Term(text="a red tulip"), Term(2, photo=photo.id), Term(-0.5, text="fruit on a table")]
    response = searcher.by_terms(terms, SearchParameters(k=24))
    texts = [searcher.embed_text(term.text)[0] for term in (terms[0], terms[2])]
    query = texts[0] + 2 * searcher.index.vectors([photo.id])[photo.id] - 0.5 * texts[1]
    query /= np.linalg.norm(query)
    stored = searcher.index.vectors([result.id for result in response.results])
    assert photo.id not in stored and len(stored) == 23
    expected = [float(query @ stored[result.id]) for result in response.results]
    np.testing.assert_allclose(scores(response.results), expected, atol=1e-5)


def test_words_alone_have_bands_of_their_own_and_predict_the_label_of_what_they_find(named: Site) -> None:
    searcher = named.searcher
    found = searcher.by_words(NAMES[0], SearchParameters(k=60))
    assert found.bands == searcher.bands(kind="words") != searcher.bands()
    assert found.close_match and found.predicted_label.label == NAMES[0]
    fitting = {result.label for result in found.results if result.score >= found.bands.same_kind}
    others = [result.label for result in found.results if result.score < found.bands.possible]
    assert fitting == {NAMES[0]} and NAMES[0] not in others[3:] and others
    far = searcher.by_words("zzz 0000", SearchParameters(filter=Filter((NAMES[3],))))
    assert far.close_match is None and far.predicted_label is None


def test_scores_of_words_with_other_terms_and_of_negative_terms_are_not_calibrated(named: Site) -> None:
    found = named.searcher.by_words(NAMES[0], SearchParameters(k=2)).results
    photo, other = (result.id for result in found)
    for terms in (
        [Term(text="red"), Term(text="tulip")],
        [Term(-1, text="red")],
        [Term(text="red"), Term(photo=photo)],
        [Term(-1, photo=photo)],
        [Term(-1, photo=photo), Term(-0.5, photo=other)],
    ):
        found = named.searcher.by_terms(terms, SearchParameters())
        assert (found.bands, found.close_match, found.predicted_label) == (None, None, None)
    assert named.searcher.by_terms([Term(photo=photo)], SearchParameters()).bands == named.searcher.bands()


def test_the_names_of_labels_suggest_one_if_the_nearest_photos_have_none(named: Site) -> None:
    searcher = named.searcher
    labelled = searcher.by_words(NAMES[1], SearchParameters(k=1)).results[0].id
    vector = searcher.index.vectors([labelled])[labelled]
    assert searcher.by_vector(vector, SearchParameters()).predicted_label.source == "neighbours"
    near = [point(1000 + at, None, vector, np.random.default_rng(at), noise=0.01) for at in range(25)]
    searcher.index.upsert(near)
    answer = named.client.post(SEARCH, json={"id": str(near[0].id)}).get_json()["predicted_label"]
    searcher.index.delete([each.id for each in near])
    assert (answer["label"], answer["source"], answer["votes"]) == (NAMES[1], "words", 0)
    assert 0.75 <= answer["confidence"] <= 1
    names = LabelWords(searcher.index, lambda text: searcher.embed_text(text)[0])
    between = to_unit_length(np.sum([searcher.embed_text(name)[0] for name in NAMES[:2]], axis=0))
    assert names.suggest(vector, searcher.thresholds.label_words()).label == NAMES[1]
    assert names.suggest(between, searcher.thresholds.label_words()) is None


def test_the_name_of_a_label_is_embedded_once(named: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retrieval.label_words.READ_EVERY_SECONDS", -1)  # read the labels for each photo
    searcher, embedded = named.searcher, []

    def embed(text: str) -> Vector:
        embedded.append(text)
        return searcher.embed_text(text)[0]

    names = LabelWords(searcher.index, embed)
    for name in (*NAMES[:2], NAMES[0]):
        names.suggest(searcher.embed_text(name)[0], searcher.thresholds.label_words())
    assert len(embedded) == len(set(embedded)) > 1


def test_terms_without_sense_are_refused(words: Site) -> None:
    searcher, photo = words.searcher, words.photos[0].id
    with pytest.raises(BadQuery, match="cancel each other"):
        searcher.by_terms([Term(photo=photo), Term(-1, photo=photo)], SearchParameters())
    with pytest.raises(BadQuery, match="blank"):
        searcher.by_words("  ", SearchParameters())
    with pytest.raises(BadQuery, match="look can't be weighted in a search by words"):
        searcher.by_words("a tulip", SearchParameters(look=0.5))
    with pytest.raises(NotFound):
        searcher.by_terms([Term(text="red"), Term(photo=uuid.uuid4())], SearchParameters())


def test_words_query_the_part_look_alone(tmp_path: Path, two_towers: Bundle, library: Path) -> None:
    made = make.bundle(tmp_path / "two-parts", dimension=26, look=16)
    fields = made.manifest.model_dump(exclude={"model_id", "format_version", "files"})
    files = {"text.onnx": two_towers.text_network, "tokenizer.json": two_towers.tokenizer}
    both = write_bundle(tmp_path / "with-words", made.network, files=files, **fields)
    with site(Settings(home=tmp_path / "home", embedding_threads=1), load_bundle(both.folder), library) as built:
        searcher = built.searcher
        response = searcher.by_words("a red tulip", SearchParameters(k=24))
        vector, _ = searcher.embed_text("a red tulip")
        stored = searcher.index.vectors([result.id for result in response.results])
        looks = searcher.parts.one(np.stack([stored[result.id] for result in response.results]), "look")
        np.testing.assert_allclose(scores(response.results), looks @ vector, atol=1e-5)


def test_the_api_searches_by_words_and_terms(words: Site) -> None:
    client, photo = words.client, words.photos[2]
    plain = client.post(SEARCH, json={"text": "a red tulip", "k": 5}).get_json()
    alone = client.post(SEARCH, json={"terms": [{"text": "a red tulip", "weight": 3}], "k": 5}).get_json()
    assert [found["id"] for found in plain["results"]] == [found["id"] for found in alone["results"]]
    assert plain["took_ms"]["embed"] > 0
    encoded = base64.b64encode(photo.path.read_bytes()).decode()
    terms = [{"text": "fruit", "weight": -1}, {"id": str(words.photos[4].id)}, {"image_base64": encoded, "weight": 2}]
    mixed = client.post(SEARCH, json={"terms": terms}).get_json()
    assert mixed["results"][0]["id"] == str(photo.id)
    assert str(words.photos[4].id) not in {found["id"] for found in mixed["results"]}
    batch = client.post(SEARCH, json={"queries": [{"text": "a red tulip", "k": 5}]}).get_json()
    assert batch["answers"][0]["results"] == plain["results"]


@pytest.mark.parametrize(
    "query",
    [
        {"text": "red", "look": 0.5},
        {"terms": [{"text": "red"}], "look": 0.5},
        {"text": " "},
        {"text": ""},
        {"text": "red", "terms": [{"text": "red"}]},
        {"terms": []},
        {"terms": [{"text": "red", "id": "1"}]},
        {"terms": [{"text": "red", "weight": "heavy"}]},
    ],
)
def test_wrong_queries_by_words_are_refused(words: Site, query: dict[str, object]) -> None:
    assert words.client.post(SEARCH, json=query).status_code == 422


def test_a_model_without_a_text_network_says_so(client: FlaskClient) -> None:
    answer = client.post(SEARCH, json={"text": "a red tulip"})
    assert answer.status_code == 422
    assert "has no text network" in answer.get_json()["detail"]
    assert 'name="text"' not in client.get("/").text
    page = client.get("/?text=a+red+tulip", headers=BROWSER)
    assert page.status_code == 422 and "has no text network" in page.text


@pytest.mark.slow
def test_the_command_says_that_a_model_has_no_text_network(
    settings: Settings, bundle: Bundle, library: Path, command: Command
) -> None:
    fill_index(settings, bundle, library)
    called = command("search", "--text", "a red tulip")
    assert called.status == 1 and f"The model {bundle.model_id} has no text network" in called.err


def test_the_page_searches_by_words_and_keeps_them_in_the_address(words: Site) -> None:
    client = words.client
    assert 'name="text"' in client.get("/").text
    page = client.get("/?text=a+red+tulip", headers=BROWSER)
    answer = client.post(SEARCH, json={"text": "a red tulip", "k": 24}).get_json()
    assert shown(page.text) == [result["id"] for result in answer["results"]]
    assert "<title>a red tulip" in page.text and 'value="a red tulip"' in page.text
    assert 'data-address="/?text=a+red+tulip"' in page.text
    photo = words.photos[3].id
    mixed = client.get(f"/?text=a+red+tulip&id={photo}&unlike={words.photos[9].id}", headers=BROWSER)
    assert mixed.status_code == 200 and f"text=a+red+tulip&amp;id={photo}" in mixed.text
    assert 'data-near="' in client.get("/map?text=a+red+tulip").text


def test_terms_of_the_page_have_weights_which_its_address_keeps(words: Site) -> None:
    client, photos = words.client, words.photos
    like, unlike = photos[3].id, photos[9].id
    sent = f"/?text=a+red+tulip&weight.0=-0.5&text=snow&text=&weight.1=1&like={like}&unlike={unlike}&weight.{unlike}=-2"
    page = client.get(sent, headers=BROWSER).text
    kept = (
        f"/?text=a+red+tulip&amp;text=snow&amp;like={like}&amp;unlike={unlike}&amp;weight.0=-0.5&amp;weight.{unlike}=-2"
    )
    assert f'data-address="{kept}"' in page
    for name, value in (("0", "-0.5"), ("1", "1"), (like, "1"), (unlike, "-2")):
        assert re.search(f'name="weight.{name}" [^>]*value="{value}"', page), name
    terms = [
        {"text": "a red tulip", "weight": -0.5},
        {"text": "snow"},
        {"id": str(like)},
        {"id": str(unlike), "weight": -2},
    ]
    assert shown(page) == [
        result["id"] for result in client.post(SEARCH, json={"terms": terms, "k": 24}).get_json()["results"]
    ]


def test_a_button_removes_a_text_and_the_weights_of_the_others_stay(words: Site) -> None:
    page = words.client.get(
        "/?text=red&text=snow&text=fruit&text=+snow&weight.0=3&weight.2=-1&without=0", headers=BROWSER
    )
    assert 'data-address="/?text=snow&amp;text=fruit&amp;weight.1=-1"' in page.text
    last = words.client.get("/?text=red&without=0&weight.0=2", headers=BROWSER)
    assert last.status_code == 200 and "Find the photos" in last.text


def test_an_upload_joins_the_words_of_the_page(words: Site) -> None:
    page = words.client.get("/?text=red&weight.0=2", headers=BROWSER).text
    chooser = page.partition('class="chooser')[2].partition("</form>")[0]
    assert 'name="text" value="red"' in chooser and 'name="weight.0" value="2"' in chooser
    sent = {"image": (io.BytesIO(words.photos[5].path.read_bytes()), "photo.jpg"), "text": "red", "weight.0": "2"}
    found = words.client.post("/", data=sent, headers=BROWSER).text
    assert "Query photo" in found and 'name="weight.photo"' in found
    assert re.search(r'data-address="/\?text=red&amp;vector=[^"]*&amp;weight\.0=2"', found)


@pytest.mark.parametrize("wrong", ["weight.0=9", "weight.0=heavy", f"text={'x' * 400}&text={'y' * 400}"])
def test_wrong_terms_of_an_address_are_refused(words: Site, wrong: str) -> None:
    assert words.client.get(f"/?text=red&{wrong}", headers=BROWSER).status_code == 422


def test_results_of_words_are_in_bands_of_their_own(named: Site) -> None:
    page = named.client.get(f"/?text={NAMES[0]}", headers=BROWSER).text
    assert re.findall(r"<summary><h2>([^<]+)", page)[0] == "Good match"
    assert "Possibly the same kind" not in page and 'name="look"' not in page
    limited = named.client.get(f"/?text={NAMES[0]}&band=same", headers=BROWSER).text
    bands = named.searcher.bands(kind="words")
    found = named.searcher.by_words(NAMES[0], SearchParameters(k=24, min_score=bands.same_kind))
    assert shown(limited) == [str(result.id) for result in found.results]
    mixed = named.client.get(f"/?text={NAMES[0]}&text=snow", headers=BROWSER).text
    assert "<summary><h2>" not in mixed


def test_the_command_searches_by_words(settings: Settings, two_towers: Bundle, library: Path, command: Command) -> None:
    photos = fill_index(settings, two_towers, library)
    alone = command("search", "--text", "a red tulip", "--json").json["results"]
    assert len(alone) == 10
    both = command("search", photos[0].path, "--text", "a red tulip", "--json").json["results"]
    assert both != alone
    assert command("search").status == 2
    assert command("search", "--text", "a tulip", "--look", "0.5").status == 1
    assert command("search", "--text", "a tulip", "--to", "results.csv").status == 1


def test_over_long_texts_are_truncated_as_the_tokenizer_says(two_towers: Bundle) -> None:
    tokenizer = Tokenizer.from_file(str(two_towers.tokenizer))
    assert len(tokenizer.encode("very " * 500).ids) == 24
