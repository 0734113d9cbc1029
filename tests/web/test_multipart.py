"""Uploads as clients really send them."""

import make
import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

SEARCH = "/api/v1/search"
PHOTO = make.encoded(make.photo("red", 0))


def post(client: FlaskClient, *parts: tuple[bytes, bytes], path: str = SEARCH) -> TestResponse:
    """Send parts, each with the rest of its content disposition and its content."""
    lines = b"".join(
        b"--b\r\nContent-Disposition: form-data; " + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts
    )
    return client.post(path, data=lines + b"--b--\r\n", content_type="multipart/form-data; boundary=b")


@pytest.mark.parametrize(
    "head",
    [
        b'name="image"',
        b'name="image"; filename=""',
        b'name="image"; filename="caf\xe9.jpg"',
        b'name="image"; filename="\xff\xfe"',
        b"name=\"image\"; filename*=iso-8859-1''caf%E9.jpg",
        b'name="image"\r\nContent-Type: image/jpeg',
    ],
)
def test_a_photo_may_have_any_file_name_or_none(client: FlaskClient, head: bytes) -> None:
    answer = post(client, (head, PHOTO), (b'name="k"', b"3"))
    assert answer.status_code == 200, answer.text
    results = answer.get_json()["results"]
    assert len(results) == 3 and results[0]["score"] == pytest.approx(1, abs=1e-5)
    page = post(client, (head, PHOTO), path="/")
    assert page.status_code == 200 and "alert" not in page.text


def test_two_photos_are_refused(client: FlaskClient) -> None:
    parts = [(b'name="image"; filename="a.jpg"', PHOTO), (b'name="image"', PHOTO)]
    answer = post(client, *parts)
    assert answer.status_code == 422
    assert answer.get_json()["errors"] == [{"field": "image", "message": "2 files were sent; send one"}]
    page = post(client, *parts, path="/")
    assert page.status_code == 422 and "Several photos were uploaded" in page.text


def test_other_fields_are_text(client: FlaskClient) -> None:
    answer = post(client, (b'name="image"', PHOTO), (b'name="label"', "groß".encode()))
    assert answer.status_code == 404 and "groß" in answer.get_json()["detail"]


@pytest.mark.parametrize("body", [b"", b"--b", b"no form", b"--b\r\nContent-Type: x\r\n\r\n\r\n--b--"])
def test_a_broken_form_is_a_form_without_a_photo(client: FlaskClient, body: bytes) -> None:
    answer = client.post(SEARCH, data=body, content_type="multipart/form-data; boundary=b")
    assert answer.status_code == 422 and answer.get_json()["errors"][0]["field"] == "image"
