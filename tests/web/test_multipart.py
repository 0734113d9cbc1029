"""Uploads as clients really send them."""

import io

import make
import pytest
from flask.testing import FlaskClient
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.formparser import FormDataParser
from werkzeug.test import TestResponse

from web.multipart import PhotoFormParser

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


A_FIELD = b'Content-Disposition: form-data; name="k"\r\n\r\n'
A_FILE = b'Content-Disposition: form-data; name="image";\r\n filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
FORMS = {
    "field and file": b"--b\r\n" + A_FIELD + b"3\r\n--b\r\n" + A_FILE + PHOTO + b"\r\n--b--\r\n",
    "text around it": b"before\r\n--b\r\n" + A_FIELD + b"3\r\n--b--\r\nafter",
    "line feeds alone": (b"--b\r\n" + A_FIELD + b"3\r\n--b--\r\n").replace(b"\r", b""),
    "spaces after the boundary": b"--b  \r\n" + A_FIELD + b"3\r\n--b--  ",
    "line breaks in the content": b"--b\r\n" + A_FIELD + b"\r\n\n3\r\n\r\n--b--\r\n",
    "no content": b"--b\r\n" + A_FIELD + b"\r\n--b--\r\n",
    "no content and one line break less": b"--b\r\n" + A_FIELD + b"--b--\r\n",
    "no part": b"--b--\r\n",
    "no end": b"--b\r\n" + A_FIELD + b"3\r\n",
    "no name": b"--b\r\nContent-Type: x\r\n\r\n3\r\n--b--\r\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_are_parsed_as_werkzeug_does(form: str) -> None:
    def parsed(parser: FormDataParser) -> tuple[MultiDict[str, str], dict[str, tuple[str | None, bytes]]]:
        body, options = FORMS[form], {"boundary": "b"}
        _, fields, files = parser.parse(io.BytesIO(body), "multipart/form-data", len(body), options)
        return fields, {name: (file.filename, file.read()) for name, file in files.items()}

    assert parsed(PhotoFormParser()) == parsed(FormDataParser())


def test_a_form_of_too_many_parts_is_refused() -> None:
    body = FORMS["field and file"]
    with pytest.raises(RequestEntityTooLarge):
        parser = PhotoFormParser(max_form_parts=1)
        parser.parse(io.BytesIO(body), "multipart/form-data", len(body), {"boundary": "b"})
