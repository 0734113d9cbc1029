"""`lookalike corrections`: what it lists, and how corrections travel to another home."""

import json
from pathlib import Path

import make
import pytest

from indexer.correction_log import read_corrections
from indexer.corrections import Corrections, PhotoChange
from retrieval.bundle import Bundle
from retrieval.index import open_store
from retrieval.photo_ref import uri_of
from retrieval.settings import Settings


def test_corrections_travel_to_another_home(
    command, settings: Settings, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = make.library(tmp_path / "photos", per_label=1, labels=("red", "green"))
    red = uri_of(own / "red" / "0.jpg")
    command("index", own, "--bundle", bundle.folder)
    assert "No photo has been corrected yet" in command("corrections", "list").out
    with open_store(settings) as store, store.open(bundle.model_id, bundle.dimension) as index:
        photo = index.named([red])[red].id
        for label in ("rose", "tulip"):
            Corrections(settings.home).correct(index, photo, PhotoChange(label, {"price": 3}), "ana")
    listed = command("corrections", "list").out
    assert all(word in listed for word in ("ana", "tulip", "red", "price: 3")) and "rose" not in listed
    result = command("index", own, "--relabel")
    assert "2 unchanged" in result.out and "kept the label" not in result.err
    file = tmp_path / "corrections.jsonl"
    assert command("corrections", "export", file, "--json").json["corrections"] == 2

    monkeypatch.setenv("LOOKALIKE_HOME", str(tmp_path / "another home"))
    imported = command("corrections", "import", file, "--json")
    assert (imported.json["new"], imported.json["applied"]) == (2, None) and "There is no index yet" in imported.err
    command("index", own, "--bundle", bundle.folder)
    assert labels(bundle) == {"tulip": 1, "green": 1}

    line = json.loads(file.read_text().splitlines()[-1])
    later = line | {"time": "2099-01-01T00:00:00.000000+00:00", "new": "daisy"}
    lines = [json.dumps(one) for one in (later, line | {"sha256": "red"}, {"time": 1}, line)]
    file.write_text("\n".join(["no JSON", *lines]) + "\n")
    imported = command("corrections", "import", file, "--json")
    assert imported.status == 1 and (imported.json["new"], imported.json["applied"]) == (1, 1)
    assert [one["line"] for one in imported.json["damaged"]] == [1, 3, 4]
    assert f"{file.name}, line 3: sha256: it is no SHA-256" in imported.err.replace("\n", " ")
    assert labels(bundle) == {"daisy": 1, "green": 1}
    again = command("corrections", "import", file, "--json")
    assert (again.json["new"], again.json["applied"]) == (0, 0)
    assert len(list(read_corrections(tmp_path / "another home" / "corrections.jsonl"))) == 3


def test_a_file_that_can_not_be_read_or_written_is_named(command, tmp_path: Path) -> None:
    for words in (("import", tmp_path / "nothing.jsonl"), ("export", tmp_path)):
        refused = command("corrections", *words)
        assert refused.status == 1 and str(words[1].name) in refused.err.replace("\n", "")
        assert "Traceback" not in refused.err


def labels(bundle: Bundle) -> dict[str, int]:
    with open_store(Settings()) as store, store.open(bundle.model_id, bundle.dimension) as index:
        return index.labels()
