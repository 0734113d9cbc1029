"""The demo goes the whole way with commands that a user could type."""

import json
import subprocess
import sys

import pytest

from retrieval.models import open_searcher
from retrieval.settings import Settings


@pytest.mark.timeout(600)
def test_the_demo_ends_with_an_index_that_answers(settings: Settings) -> None:
    """On the digits, which need no download: trained, evaluated, indexed, cross-checked."""
    command = [sys.executable, "-m", "lookalike", "demo", "--data", "digits", "--no-serve", "--json"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    result = json.loads(finished.stdout)
    assert result["index"]["seen"] == result["index"]["indexed"] == 1797
    assert result["crosscheck"]["recall_at_k"] == 1
    assert result["evaluation"]["recall_at_1"] > 0.9
    typed = [line for line in finished.stderr.splitlines() if line.startswith("$ lookalike ")]
    assert [line.split()[2] for line in typed] == ["train", "evaluate", "index", "models", "crosscheck"]
    with open_searcher(settings).index as index:
        assert index.count() == 1797
        assert sorted(index.labels()) == [str(digit) for digit in range(10)]
