"""The rules between the rooms: imports run downwards, and each heavy library has one room."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = {
    "retrieval": set(),
    "trainer": {"retrieval"},
    "indexer": {"retrieval"},
    "web": {"retrieval", "indexer"},
}
HOMES = {
    "tensorflow": "trainer",
    "tensorflow_addons": "trainer",
    "tensorflow_datasets": "trainer",
    "celery": "indexer",
    "flask": "web",
    "apiflask": "web",
    "qdrant_client": "retrieval/index",
    "qdrant_edge": "retrieval/index",
}


def imports(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.partition(".")[0]


def sources() -> list[Path]:
    return [file for room in ROOMS for file in sorted((ROOT / room).rglob("*.py"))]


@pytest.mark.parametrize("file", sources(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_imports_run_downwards(file: Path) -> None:
    room = file.relative_to(ROOT).parts[0]
    assert set(imports(file)) & set(ROOMS) <= ROOMS[room] | {room}


@pytest.mark.parametrize("file", sources(), ids=lambda file: file.relative_to(ROOT).as_posix())
def test_a_heavy_library_stays_in_its_room(file: Path) -> None:
    strangers = {
        library
        for library in set(imports(file)) & set(HOMES)
        if not file.relative_to(ROOT).as_posix().startswith(HOMES[library] + "/")
    }
    assert strangers == set()


@pytest.mark.parametrize("module", ["web.app", "indexer.batch", "indexer.cli", "retrieval.cli", "lookalike"])
def test_serving_imports_no_tensorflow(module: str) -> None:
    code = f"import sys, {module}; print([name for name in sys.modules if name.startswith(('tensorflow', 'keras'))])"
    assert subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True).strip() == "[]"
