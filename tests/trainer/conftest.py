from pathlib import Path

import make
import pytest


@pytest.fixture
def colours(tmp_path: Path) -> Path:
    """Three classes of twelve photos, a folder per class."""
    return make.library(tmp_path / "colours", per_label=12)
