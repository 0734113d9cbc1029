"""The examples of docs/api.md, run as they are written against a real server."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import make
import pytest
from serving import ROOT, fill_index, serving

from indexer.jobs import IndexRequest, JobRecord
from indexer.review.queues import save_queues
from retrieval.bundle import Bundle
from retrieval.columns.schema import ColumnSchema, save_schema
from retrieval.index import open_store
from retrieval.settings import Settings

PAGE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.DOTALL)
EXAMPLES = "".join(block for block in BLOCKS if '"text"' not in block)  # searches by words need a text network
DEFAULT_URL = "http://127.0.0.1:5000"
ID = "6181900b-a786-508c-acd1-35d76fed98f1"
JOB = "20260101-120000-0a1b2c"
# A refused request ends the script.
CURL = 'set -eu; curl() { command curl --fail-with-body --silent "$@" && echo; }\n'
(RECIPE,) = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl on this machine")
def test_every_example_is_answered(
    settings: Settings, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make.library(tmp_path / "library")
    (library / "red").rename(library / "rose")
    (library / "roses").symlink_to("rose")
    photos = fill_index(settings, bundle, library / "rose")
    with open_store(settings) as store, store.open(bundle.model_id, bundle.dimension) as index:
        save_schema(index, ColumnSchema(kinds={"price": "number", "shop": "text"}))
    save_queues(settings, bundle.model_id, len(photos), {})
    shutil.copy(photos[0].path, tmp_path / "photo.jpg")
    job = JobRecord(settings.jobs_folder, IndexRequest([str(library)]), bundle.model_id)
    job.end("done")
    monkeypatch.setenv("LOOKALIKE_API_KEYS", "sesame")
    monkeypatch.setenv("LOOKALIKE_LIBRARY_ROOTS", str(library))
    with serving() as url:
        script = EXAMPLES.replace(DEFAULT_URL, url).replace(ID, str(photos[3].id)).replace(JOB, job.job.id)
        answers = run(["bash", "-c", CURL + script], tmp_path)
        python = run([sys.executable, "-c", RECIPE.replace(DEFAULT_URL, url)], tmp_path)
    documents = [json.loads(line) for line in answers if line.startswith("{")]
    assert len(documents) == EXAMPLES.count("curl ") - 7, "five of them write files, one follows, one removes"
    first = documents[0]
    assert len(first["results"]) == 5 and first.keys() == example().keys()
    assert first["results"][0].keys() == example()["results"][0].keys()
    assert (tmp_path / photos[3].path.name).read_bytes() == photos[3].path.read_bytes()
    assert (tmp_path / "thumbnail.jpg").read_bytes().startswith(b"\xff\xd8")
    assert "id: end" in answers
    assert len(python) == 5 and all(" rose file://" in line for line in python)


def run(command: list[str], folder: Path) -> list[str]:
    """The lines that a command prints."""
    ran = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.splitlines()


def example() -> dict:
    """The answer that the page shows for a search by a photo."""
    (first, *_) = re.findall(r"```json\n(.*?)```", PAGE, flags=re.DOTALL)
    return json.loads(first)
