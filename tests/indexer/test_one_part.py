"""An embedding of one part, kind or look: a tool that needs the other one uses this one."""

from dataclasses import replace
from pathlib import Path

import make
import pytest
from commands import Command
from serving import fill_index

from retrieval.current_model import open_searcher
from retrieval.index import Point, open_store
from retrieval.search import SearchParameters
from retrieval.settings import Settings


@pytest.mark.slow
@pytest.mark.parametrize("part", ["look", "kind"])
def test_each_tool_uses_the_only_part(
    command: Command, settings: Settings, library: Path, tmp_path: Path, part: str
) -> None:
    bundle = make.bundle(tmp_path / part, part=part)
    photos = fill_index(settings, bundle, library, calibrated=True)
    wrong = photos[0]
    with open_store(settings) as store, open_searcher(settings, store) as searcher:
        response = searcher.by_photo(photos[3].path.read_bytes(), SearchParameters(k=24))
        assert response.predicted_label.label == photos[3].label
        assert response.bands is not None and response.in_collection == photos[3].id
        (payload,), (vector,) = searcher.index.get([wrong.id]).values(), searcher.index.vectors([wrong.id]).values()
        searcher.index.upsert([Point(wrong.id, vector, replace(payload, label=photos[-1].label))])
    (doubtful,) = command("doubtful", "--json").json["results"]
    assert (doubtful["uri"], doubtful["suggested"]) == (wrong.uri, wrong.label)
    found = command("duplicates", "--json").json
    assert found["calibrated_on"] == "index" and found["near_identical"] == []
