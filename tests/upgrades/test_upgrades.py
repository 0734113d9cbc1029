"""What a released version left on disk opens with this version, and answers as it did then.

Each archive is a whole site (`make_fixture.py` says how it was made), with what commands, pages and API returned.
Wording may change between versions; fields may be added, and none may go or change.
"""

import json
import os
import re
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import make
import pytest
from serving import serving

from lookalike.cli import main
from retrieval.settings import Settings

ARCHIVES = sorted(Path(__file__).parent.glob("*.tar.xz"))
WORDS = {"error", "remedy", "reason", "problem", "problems", "title", "detail", "message", "type"}
NEW_EACH_TIME = {"took_ms", "seconds", "images_per_second", "checked_at", "indexed_at", "max_score_error", "request_id"}
CALIBRATED = {"predicted_label"}  # since 0.2, only with a close match, and copies of the query do not vote
OF_A_NEW_JOB = {"job", "failures"}
CARD = re.compile(r'class="card" href="/photo/([0-9a-f-]{36})"')
HERE = "/proc/self/cwd"

Run = Callable[..., Any]


@pytest.fixture(params=ARCHIVES, ids=lambda archive: archive.name.removesuffix(".tar.xz"))
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a site, which is the working directory; only its `.env` makes settings."""
    with tarfile.open(request.param) as archive:
        archive.extractall(tmp_path, filter="data")
    for name in [name for name in os.environ if name.startswith("LOOKALIKE_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def answers(site: Path) -> dict[str, Any]:
    """What the old version returned."""
    found: dict[str, Any] = json.loads((site / "answers.json").read_bytes())
    return found


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command in this process, and returns what it prints with `--json`."""

    def run(*words: str) -> Any:
        monkeypatch.setattr(sys, "argv", ["lookalike", *words, "--json"])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        printed = capsys.readouterr()
        assert end.value.code in (0, None, 1), printed.err  # 1 since 0.2 if no photo of a job could be indexed
        return json.loads(printed.out)

    return run


def test_commands_print_what_they_printed(answers: dict[str, Any], run: Run) -> None:
    for typed in answers["commands"]:
        words = typed["command"]
        starts_job = words[0] == "index" or words[:2] == ["jobs", "retry"]
        # Recall had bootstrap intervals before 0.2.
        ignored = NEW_EACH_TIME | CALIBRATED | {"intervals"} | (OF_A_NEW_JOB if starts_job else set())
        # One photo of a class of 27 may change places: an int8 network rounds differently on other processors.
        tolerance = 0.04 if words[0] == "evaluate" else 1e-4
        assert list(differences(typed["prints"], run(*words), ignored, tolerance)) == [], words


def test_pages_and_api_answer_what_they_answered(site: Path, answers: dict[str, Any]) -> None:
    cached = set((site / "home" / "cache").rglob("*.jpg"))
    with serving(folder=site) as url, client(url) as server:
        for request in answers["requests"]:
            response = ask(server, request)
            assert response.status_code == request["status"], request
            if "body" in request:
                assert list(differences(request["body"], response.json(), NEW_EACH_TIME | CALIBRATED, 1e-4)) == [], (
                    request
                )
            elif "photos" in request:
                # Since 0.2, a search by a part of an indexed photo excludes that photo, on the page as in the API.
                expected = [
                    photo
                    for photo in request["photos"]
                    if "crop=" not in request["path"] or photo not in request["path"]
                ]
                assert CARD.findall(response.text) == expected, request
            else:
                assert len(response.content) == request["bytes"], request
    made = set((site / "home" / "cache").rglob("*.jpg")) - cached
    assert made, "a decoder that reads colour profiles makes thumbnails anew"


@pytest.mark.slow
def test_uploads_are_removed_with_their_files(site: Path, answers: dict[str, Any]) -> None:
    (upload,) = (site / "home" / "uploads" / "labelled").rglob("*.jpg")
    photos = [
        request["body"]
        for request in answers["requests"]
        if request["path"].startswith("/api/v1/images/") and "body" in request and "similar" not in request["path"]
    ]
    (photo,) = (photo["id"] for photo in photos if photo["uri"].endswith(f"/{upload.name}"))
    with serving(folder=site) as url, client(url) as server:
        assert server.delete(f"/api/v1/images/{photo}", headers={"Authorization": "Bearer wrong"}).status_code == 401
        assert upload.exists()
        assert server.delete(f"/api/v1/images/{photo}").status_code == 204
    assert not upload.exists()


def test_settings_are_read_as_they_were(answers: dict[str, Any]) -> None:
    for name, expected in answers["settings"].items():
        settings = Settings(_env_file=name)
        found = settings.model_dump(mode="json")
        found["api_keys"] = [key.get_secret_value() for key in settings.api_keys]
        if settings.qdrant_api_key:
            found["qdrant_api_key"] = settings.qdrant_api_key.get_secret_value()
        assert {field: found[field] for field in expected} == expected


def test_the_model_before_serves_again(answers: dict[str, Any], run: Run) -> None:
    before, after = (model["id"] for model in sorted(run("models", "list")["models"], key=lambda one: one["current"]))
    assert run("models", "rollback") == {"current": before}
    found = run("search", "photos/red/1.jpg")["results"]
    assert len(found) == 10
    assert found[0]["score"] == pytest.approx(1, abs=1e-5)
    assert run("models", "rollback") == {"current": after}


def test_a_photo_is_added_to_the_index(site: Path, run: Run) -> None:
    make.library(site / "more", per_label=1, labels=("red",))
    done = run("index", "more")
    assert (done["indexed"], done["failed"]) == (1, 0)
    (found,) = run("search", "more/red/0.jpg", "-k", "1")["results"]
    assert found["uri"] == (site / "more" / "red" / "0.jpg").as_uri()
    again = run("index", f"{HERE}/photos.jsonl", "more", "--sync")
    assert (again["indexed"], again["unchanged"], again["removed"], again["failed"]) == (0, 13, 0, 2)


def test_a_photo_that_was_broken_is_retried(site: Path, answers: dict[str, Any], run: Run) -> None:
    (site / "photos" / "broken.jpg").write_bytes(make.encoded(make.photo("red", 30)))
    (retried,) = (typed["command"] for typed in answers["commands"] if typed["command"][:2] == ["jobs", "retry"])
    done = run(*retried)
    assert (done["seen"], done["indexed"], done["failed"]) == (2, 1, 1)


def client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, headers={"Authorization": "Bearer first-key"}, timeout=60)


def ask(server: httpx.Client, request: dict[str, Any]) -> httpx.Response:
    files = {"image": Path(request["photo"]).read_bytes()} if "photo" in request else None
    return server.request(
        request["method"], request["path"], json=request.get("json"), data=request.get("form"), files=files
    )


def differences(old: Any, new: Any, ignored: set[str], tolerance: float, place: str = "") -> Iterator[str]:
    """Where an answer lacks something that the old one had, or says something else; messages may be reworded."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() - ignored:
            if key not in new:
                yield f"{place}.{key} is missing"
            elif not (key in WORDS and isinstance(old[key], str)):
                yield from differences(old[key], new[key], ignored, tolerance, f"{place}.{key}")
            elif not isinstance(new[key], str):
                yield f"{place}.{key} is {new[key]!r} and no text"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for number, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from differences(before, after, ignored, tolerance, f"{place}[{number}]")
    elif isinstance(old, float) and new == pytest.approx(old, abs=tolerance):
        return
    elif old != new:
        yield f"{place} was {old!r} and is {new!r}"
