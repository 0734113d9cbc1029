"""The examples of docs/api.md, run as they are written against a real server."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import make
import pytest
from serving import ROOT, fill_index, serving

from retrieval.bundle import Bundle
from retrieval.settings import Settings

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
EXAMPLES = "".join(re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL))
DEFAULT_URL = "http://127.0.0.1:5000"
ID = "6181900b-a786-508c-acd1-35d76fed98f1"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_every_example_is_answered(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    library = make.library(tmp_path / "library")
    (library / "red").rename(library / "rose")
    photos = fill_index(settings, bundle, library)
    shutil.copy(photos[0].path, tmp_path / "photo.jpg")
    with serving() as url:
        script = EXAMPLES.replace(DEFAULT_URL, url).replace(ID, str(photos[3].id))
        answers = run(script, tmp_path)
    assert len(answers) == EXAMPLES.count("curl ") - 2, "two of them write files"
    assert len(answers[0]["results"]) == 5 and answers[0].keys() == example().keys()
    assert answers[0]["results"][0].keys() == example()["results"][0].keys()
    assert {result["label"] for result in answers[-1]["results"]} == {"rose"}
    assert (tmp_path / photos[3].path.name).read_bytes() == photos[3].path.read_bytes()
    assert (tmp_path / "thumbnail.jpg").read_bytes().startswith(b"\xff\xd8")


def run(script: str, folder: Path) -> list[dict]:
    """The JSON documents that the commands print; a refused one ends the script."""
    script = f'set -eu; curl() {{ command curl --fail-with-body --silent "$@" && echo; }}\n{script}'
    ran = subprocess.run(["bash", "-c", script], cwd=folder, check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return [json.loads(line) for line in ran.stdout.splitlines() if line]


def example() -> dict:
    """The answer that the page shows for a search by a photo."""
    (first, *_) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    return json.loads(first)
