"""The search page as a browser without scripts gets it."""

import io
import re
import uuid
from html import unescape
from pathlib import Path
from types import SimpleNamespace

import make
import numpy as np
import pytest
from flask.testing import FlaskClient
from serving import Site, client_of, site
from werkzeug.test import TestResponse

from retrieval.bundle import Bundle, write_bundle
from retrieval.bundle_format import Calibration
from retrieval.photo_ref import PhotoRef
from retrieval.search import Searcher
from retrieval.settings import Settings
from web.label_counts import LabelCounts
from web.page.address import decode_vector, encode_int8, encode_vector
from web.page.errors import texts
from web.page.label_choices import choose_labels

BROWSER = {"Accept": "text/html,*/*;q=0.8"}


def upload(client: FlaskClient, data: bytes) -> TestResponse:
    return client.post("/", data={"image": (io.BytesIO(data), "photo.jpg")}, headers=BROWSER)


def cards(page: TestResponse) -> list[str]:
    """The ids of the photos in the page's grid."""
    return re.findall(r'class="card" href="/photo/([0-9a-f-]+)"', page.text)


def more(page: TestResponse) -> list[str]:
    return [unescape(link) for link in re.findall(r'href="([^"]+)" data-more', page.text)]


def shown_labels(page: TestResponse) -> list[tuple[str, bool]]:
    """The labels to choose from, each with whether it is chosen."""
    found = re.findall(r'name="label" value="([^"]*)"( checked)?', page.text)
    return [(unescape(label), bool(checked)) for label, checked in found]


def test_it_starts_with_some_indexed_photos(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get("/")
    assert page.status_code == 200 and "24 indexed photos" in page.text
    assert len(cards(page)) == 18 and set(cards(page)) <= {str(photo.id) for photo in photos}


def test_a_plain_form_shows_the_nearest_photos(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = upload(client, photos[4].path.read_bytes())
    assert page.status_code == 200 and cards(page)[0] == str(photos[4].id)
    assert 'src="data:image/jpeg;base64,' in page.text
    assert "This photo is in the collection" in page.text and "Probably" not in page.text
    assert f"Labelled</span> <bdi>{photos[4].label}</bdi>" in page.text
    other = upload(client, make.encoded(make.photo("blue", seed=99)))
    assert "in the collection" not in other.text
    assert "Probably <strong><bdi>blue</bdi></strong>" in other.text
    assert "of the 10 most similar photos are labelled <bdi>blue</bdi>" in other.text


def test_the_address_of_an_upload_finds_the_same_again(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = upload(client, photos[4].path.read_bytes())
    (address,) = re.findall(r'data-address="([^"]+)"', page.text)
    assert cards(client.get(unescape(address))) == cards(page)


RNG = np.random.default_rng(0)
WORST = np.full(512, 0.999 / 254)  # each component but the first is rounded to 0
WORST[0] = 1
EMBEDDINGS = {
    "normal": RNG.normal(size=512),
    "one-hot": np.eye(512)[7] * -0.5,
    "sparse": RNG.normal(size=512) * (RNG.uniform(size=512) < 0.02),
    "heavy-tailed": RNG.standard_cauchy(size=512),
    "log-normal": RNG.lognormal(sigma=3, size=512),
    "equal": np.ones(512),
    "tiny": RNG.normal(size=512) * 1e-20,
    "worst": WORST,
}


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_an_address_of_an_earlier_version_holds_an_embedding_almost_exactly(kind: str) -> None:
    vector = EMBEDDINGS[kind].astype(np.float32)
    again = decode_vector(encode_int8(vector), 512)
    assert len(encode_int8(vector)) == 683
    assert abs(np.linalg.norm(again) - 1) < 1e-6
    cosine = vector.astype(np.float64) @ again / np.linalg.norm(vector.astype(np.float64))
    assert cosine >= (1 + 511 / 254**2) ** -0.5 - 1e-6
    assert kind == "worst" or cosine > 0.998
    assert kind != "normal" or cosine > 0.9999


@pytest.mark.parametrize("kind", EMBEDDINGS)
def test_an_address_holds_an_embedding_as_float16(kind: str) -> None:
    vector = EMBEDDINGS[kind].astype(np.float32)
    text = encode_vector(vector)
    again = decode_vector(text, 512)
    assert len(text) == 1367 and re.fullmatch(r"\.[\w-]+", text)
    assert abs(np.linalg.norm(again) - 1) < 1e-6
    cosine = vector.astype(np.float64) @ again / np.linalg.norm(vector.astype(np.float64))
    assert cosine > 0.9999998
    assert encode_vector(again) == text, "a link that is copied from a link is the same"


def test_an_embedding_that_is_too_long_for_float16_has_one_byte_per_number() -> None:
    vector = RNG.normal(size=4096).astype(np.float32)
    assert encode_vector(vector) == encode_int8(vector)
    assert decode_vector(encode_vector(vector), 4096) @ vector > 0.9999 * np.linalg.norm(vector)


def test_a_link_searches_from_a_photo_and_filters(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}")
    assert len(cards(page)) == 23 and str(photos[0].id) not in cards(page)
    assert ("red", False) in shown_labels(page)
    filtered = client.get(f"/?id={photos[0].id}&label=red")
    assert set(cards(filtered)) == {str(photo.id) for photo in photos if photo.label == "red"} - {str(photos[0].id)}
    assert ("red", True) in shown_labels(filtered) and ("blue", False) in shown_labels(filtered)


def test_examples_refine_a_search(client: FlaskClient, photos: list[PhotoRef]) -> None:
    subject, like, unlike = photos[0].id, photos[9].id, photos[17].id
    page = client.get(f"/?id={subject}&like={like}&unlike={unlike}")
    assert not {str(subject), str(like), str(unlike)} & set(cards(page)) and len(cards(page)) == 21
    assert cards(page) != [card for card in cards(client.get(f"/?id={subject}")) if card in cards(page)]
    assert f'name="like" value="{like}" checked' in page.text and f'name="unlike" value="{unlike}" checked' in page.text
    alone = client.get(f"/?like={like}")
    assert cards(alone) == cards(client.get(f"/?id={like}"))


def test_an_uploaded_photo_is_refined_too(client: FlaskClient, photos: list[PhotoRef]) -> None:
    (address,) = re.findall(r'data-address="([^"]+)"', upload(client, photos[4].path.read_bytes()).text)
    page = client.get(f"{unescape(address)}&like={photos[20].id}")
    found = cards(page)
    assert str(photos[20].id) not in found and photos[20].label in {
        photo.label for photo in photos if str(photo.id) in found[:4]
    }


def test_a_part_of_an_indexed_photo_is_searched(client: FlaskClient, photos: list[PhotoRef]) -> None:
    part = client.get(f"/?id={photos[0].id}&crop=0.5,0.5,0.4,0.4")
    assert 'data-crop="0.5,0.5,0.4,0.4"' in part.text and "Whole photo" in part.text
    assert str(photos[0].id) not in cards(part) and cards(part) != cards(client.get(f"/?id={photos[0].id}"))
    box = {"x": 0.5, "y": 0.5, "width": 0.4, "height": 0.4}
    answer = client.post("/api/v1/search", json={"id": str(photos[0].id), "crop": box, "k": 24}).get_json()
    assert [result["id"] for result in answer["results"]] == cards(part)
    data = {"image": (io.BytesIO(photos[0].path.read_bytes()), "photo.jpg"), "crop": "0.5,0.5,0.4,0.4"}
    assert [card for card in cards(client.post("/", data=data)) if card != str(photos[0].id)] == cards(part)


def test_a_part_of_a_photo_gone_from_disk_is_explained(own: Site) -> None:
    own.photos[0].path.unlink()
    page = own.client.get(f"/?id={own.photos[0].id}&crop=0,0,0.5,0.5", headers=BROWSER)
    assert page.status_code == 404 and "no longer on disk" in page.text


def test_a_least_score_leaves_the_rest_out(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}&min_score=0.7")
    scores = [float(score) for score in re.findall(r", similarity ([\d.]+)</span>", page.text)]
    assert scores and min(scores) >= 0.7 and len(scores) < 23
    assert "No photo is that similar" in client.get(f"/?id={photos[0].id}&min_score=1").text


def test_more_can_be_shown(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = upload(client, photos[0].path.read_bytes())
    (link,) = more(page)
    assert len(cards(page)) == 24 and "offset=24" in link
    assert "No further photo" in client.get(link).text
    assert cards(client.get(link.replace("offset=24", "offset=20"))) == cards(page)[20:]


def test_a_photo_has_a_page(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/photo/{photos[0].id}")
    assert page.status_code == 200 and f"/api/v1/images/{photos[0].id}/file" in page.text
    assert "120 × 90 px" in page.text and photos[0].path.name in page.text and f"/?id={photos[0].id}" in page.text
    assert client.get(f"/photo/{photos[0].id.int ^ 1:032x}", headers=BROWSER).status_code == 404


@pytest.mark.parametrize(
    ("address", "status", "says"),
    [
        ("/?id=00000000-0000-0000-0000-000000000000", 404, "There is no indexed photo"),
        ("/?id=7", 422, "This link is incomplete or wrong. Copy the whole link"),
        ("/?offset=-1", 422, "This link is incomplete or wrong."),
        ("/?like={model}", 422, "This link is incomplete or wrong."),
        ("/?crop=0.5,0.5", 422, "This link is incomplete or wrong."),
        ("/nothing", 404, "There is no page at this address. Check the link, or start again."),
        ("/?vector=AAAA&model=vgg16-000000000000", 422, "made with the model vgg16-000000000000"),
        ("/?vector=AAAA&model={model}", 422, "This link is incomplete"),
        ("/?vector=AAAA", 422, "This link is incomplete"),
        ("/?vector=AAAA&model={model:.6}", 422, "This link is incomplete"),
        ("/?vector=A&model={model}", 422, "This link is incomplete"),
        ("/?vector=%00%ff&model={model}", 422, "This link is incomplete"),
        ("/?vector=.AAAA&model={model}", 422, "This link is incomplete"),
        ("/?vector=.AAAAAAAAAAAAAAAAAAAAAA&model={model}", 422, "This link is incomplete"),
        (f"/?vector=.{5 * 'AHwAfAB8'}AHw&model={{model}}", 422, "finite numbers"),
    ],
)
def test_a_wrong_address_is_explained(
    client: FlaskClient, searcher: Searcher, address: str, status: int, says: str
) -> None:
    page = client.get(address.format(model=searcher.index.model), headers=BROWSER)
    assert page.status_code == status and page.mimetype == "text/html"
    shown = re.sub("<[^>]+>", "", page.text)
    assert 'role="alert"' in page.text and says in shown
    assert not re.search("/api/docs says|Unprocessable|LOOKALIKE_|Retry-After|server's log", shown)


def test_a_filter_of_an_unknown_label_is_removed_with_a_notice(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}&label=violet&label=red")
    assert page.status_code == 200 and "No photo is labelled “<bdi>violet</bdi>” any more." in page.text
    assert [label for label, chosen in shown_labels(page) if chosen] == ["red"] and "violet" not in more_address(page)
    unknown = client.get("/?id=00000000-0000-0000-0000-000000000000&label=violet", headers=BROWSER)
    assert unknown.status_code == 404


def test_errors_of_photos_are_in_the_words_of_the_page(own: Site) -> None:
    page = upload(client_of(own, max_upload_mb=1), bytes(1_200_000))
    assert page.status_code == 413 and "Choose a smaller photo." in page.text and "LOOKALIKE" not in page.text
    assert "This file is too large" in page.text
    said = texts(422, "It has too many pixels.", "Make it smaller or raise LOOKALIKE_MAX_PIXELS.", "unreadable-photo")
    assert said == ("This search is not possible", "It has too many pixels.", "Choose another photo.")
    assert "Wait a minute" in texts(429, "More than 1 per minute are not allowed.", "", "about:blank")[2]


def more_address(page: TestResponse) -> str:
    """The address of the results."""
    (address,) = re.findall(r'data-address="([^"]+)"', page.text)
    return unescape(address)


@pytest.mark.parametrize(
    ("data", "says"), [(b"", "No photo was uploaded"), (b"<html>", "not a photo of a known format")]
)
def test_a_wrong_upload_is_explained(client: FlaskClient, data: bytes, says: str) -> None:
    page = upload(client, data)
    assert page.status_code == 422 and says in page.text and "Traceback" not in page.text


def test_an_empty_index_says_what_to_do(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with site(settings, bundle, tmp_path / "empty") as built:
        assert "Add your first photos" in built.client.get("/").text
        page = upload(built.client, make.encoded(make.photo()))
        assert page.status_code == 200 and "Nothing found" in page.text


def test_a_label_is_text_whatever_it_holds(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    library = make.library(tmp_path / "labels", 3)
    (library / "red").rename(library / '"><script>alert(1)<')
    with site(settings, bundle, library) as built:
        page = built.client.get(f"/?id={built.photos[0].id}")
        assert page.status_code == 200 and "<script>alert" not in page.text
        assert "&lt;script&gt;alert" in page.text
        chosen = next(label for label, _ in shown_labels(page) if "script" in label)
        assert len(cards(built.client.get("/", query_string={"id": built.photos[0].id, "label": chosen}))) >= 2


def test_a_search_without_a_close_match_says_so(
    settings: Settings, bundle: Bundle, library: Path, tmp_path: Path
) -> None:
    fields = bundle.manifest.model_dump(exclude={"model_id", "format_version"})
    fields["calibration"] = Calibration(queries=24, same_label=[0.99] * 21, other_label=[0.5] * 21, close_match=0.95)
    calibrated = write_bundle(tmp_path / "calibrated", bundle.network, **fields)
    with site(settings, calibrated, library) as built:
        near, far = built.photos[2].path.read_bytes(), make.encoded(make.photo("green", 99, (400, 50)))
        assert "No close match" not in upload(built.client, near).text
        page = upload(built.client, far)
        assert "No close match" in page.text and "Probably" not in page.text and len(cards(page)) == 24
        narrowed = built.client.get("/", query_string={"id": built.photos[0].id, "label": "green"})
        assert "No close match" not in narrowed.text, "measured for the nearest of all photos"
        searches = [{}, {"offset": 1}, {"label": "green"}]
        sent = [{"image": (io.BytesIO(far), "photo.jpg"), **options} for options in searches]
        answers = [built.client.post("/api/v1/search", data=data).get_json() for data in sent]
        assert [answer["close_match"] for answer in answers] == [False, None, None]


def test_it_works_below_a_path_prefix(client: FlaskClient, photos: list[PhotoRef]) -> None:
    for place in (
        "/",
        f"/?id={photos[0].id}&like={photos[1].id}",
        f"/photo/{photos[0].id}",
        "/map",
        "/jobs",
        "/models",
    ):
        page = client.get(place, environ_overrides={"SCRIPT_NAME": "/photos"})
        addresses = re.findall(r'(?:href|src|action|data-\w+)="(/[^"]*)"', page.text)
        assert page.status_code == 200 and addresses
        assert all(address.startswith("/photos/") for address in addresses), addresses


def test_of_many_labels_a_few_are_shown_and_the_rest_can_be_found(own: Site) -> None:
    points = list(own.searcher.index.scroll())
    for number, point in enumerate(points):
        object.__setattr__(point.payload, "label", f"kind {number:02}")
    own.searcher.index.upsert(points)
    page = own.client.get(f"/?id={points[0].id}&label=kind 23")
    assert len(shown_labels(page)) == 20 and shown_labels(page)[0] == ("kind 23", True)
    assert "Search 24 labels" in page.text and "and 4 more" in page.text
    found = own.client.get(f"/?id={points[0].id}&label=kind 23&find=KIND 2")
    assert [label for label, _ in shown_labels(found)] == ["kind 23", "kind 20", "kind 21", "kind 22"]


def test_labels_are_not_counted_at_every_step(own: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A count that took a second is cached for twenty."""

    def count_for_a_second(*, exact: bool) -> dict[str, int]:
        counted.append(now[0])
        now[0] += 1
        return {"red": len(counted)}

    counted, now = list[float](), [0.0]
    monkeypatch.setattr(own.searcher.index, "labels", count_for_a_second)
    monkeypatch.setattr("web.label_counts.time", SimpleNamespace(monotonic=lambda: now[0]))
    counts = LabelCounts()
    for now[0], expected in ((0.0, 1), (1.0, 1), (20.9, 1), (21.1, 2), (42.0, 2)):
        assert counts.of(own.searcher.index)["red"] == expected


def test_fifty_thousand_labels_weigh_nothing() -> None:
    counts = {f"species {number}": 50_000 - number for number in range(50_000)}
    choices = choose_labels(counts, ["species 49999"], "es 4321")
    assert [choice.name for choice in choices.shown][:2] == ["species 49999", "species 4321"]
    assert (len(choices.shown), choices.matching, choices.total) == (12, 12, 50_000)
    assert len(choose_labels(counts, [], "").shown) == 20


def test_the_page_is_light(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}")
    static = client.application.static_url_path
    used = set(re.findall(rf"{static}/([\w.]+)", page.text))
    weight = len(page.data) + sum(
        len(client.get(f"{static}/{name}").data) for name in used | modules(client, "page.js")
    )
    assert weight <= 120_000 and {"base.css", "search.css", "page.js"} <= used


def modules(client: FlaskClient, name: str) -> set[str]:
    """A script and all that it imports."""
    imported = re.findall(r'from "\./([\w.]+)"', client.get(f"{client.application.static_url_path}/{name}").text)
    return {name}.union(*(modules(client, other) for other in imported))


def test_nothing_comes_from_elsewhere(client: FlaskClient, photos: list[PhotoRef]) -> None:
    for page in (client.get("/"), client.get(f"/?id={photos[0].id}")):
        assert not re.findall(r'(?:src|href|action)="(?:https?:)?//', page.text)
        assert not re.findall(r"<script(?![^>]* src=)|\son[a-z]+=", page.text)


def test_every_photo_has_its_room_before_it_comes(client: FlaskClient, photos: list[PhotoRef]) -> None:
    page = client.get(f"/?id={photos[0].id}")
    images = re.findall(r"<img[^>]+>", page.text)
    assert len(images) == 24 and all(re.search(r'width="120" height="90"', image) for image in images)


def test_a_search_is_marked_on_the_map(client: FlaskClient, photos: list[PhotoRef]) -> None:
    photo = photos[0].id
    assert f'href="/map?id={photo}&amp;label=green"' in client.get(f"/?id={photo}&label=green").text
    marked = client.get(f"/map?id={photo}&label=green").text
    (near,) = re.findall(r'data-near="([^"]*)"', marked)
    assert len(set(near.split()) - {str(photo)}) == 23, "without the filter of the search"
    assert f'data-itself="{photo}"' in marked
    assert 'data-itself=""' in client.get(f"/map?id={photo}&crop=0,0,0.5,0.5").text
    assert "data-near" not in client.get("/map").text
    assert client.get("/map?vector=AAAA&model=other").status_code == 422


def test_examples_that_no_longer_exist_are_left_out_with_a_notice(client: FlaskClient, photos: list[PhotoRef]) -> None:
    gone, photo, liked = uuid.UUID(int=1), photos[0].id, photos[9].id
    page = client.get(f"/?id={photo}&like={gone}&like={liked}")
    assert page.status_code == 200 and str(gone) not in page.text
    assert "1 of the examples is no longer indexed, and was left out." in page.text
    assert f'name="like" value="{liked}" checked' in page.text
    assert "2 of the examples are no longer" in client.get(f"/?id={photo}&like={gone}&unlike={gone}").text
    assert client.get(f"/?like={gone}").status_code == 404


def test_a_search_with_photos_that_no_longer_exist_is_marked_without_them(
    client: FlaskClient, photos: list[PhotoRef]
) -> None:
    gone, photo = uuid.UUID(int=1), photos[0].id
    marked = client.get(f"/map?id={photo}&like={gone}")
    assert marked.status_code == 200 and "data-near" in marked.text
    assert "1 of the examples is no longer indexed, and was left out." in marked.text
    for search in (f"id={gone}", f"like={gone}", f"id={gone}&like={photo}"):
        page = client.get(f"/map?{search}")
        assert page.status_code == 200 and "data-near" not in page.text
        assert "The photo of this search is no longer indexed" in page.text
