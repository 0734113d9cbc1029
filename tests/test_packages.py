"""The rules between the packages: imports run downwards and in no circle, and each heavy library has one package."""

import ast
import subprocess
import sys
from collections.abc import Callable
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {
    "retrieval": set(),
    "trainer": {"retrieval"},
    "indexer": {"retrieval"},
    "web": {"retrieval", "indexer"},
}
LIBRARIES = {
    "tensorflow": "trainer",
    "tensorflow_addons": "trainer",
    "tensorflow_datasets": "trainer",
    "celery": "indexer",
    "flask": "web",
    "apiflask": "web",
    "qdrant_client": "retrieval/index",
    "qdrant_edge": "retrieval/index",
}
FILES = {
    file.with_suffix("").relative_to(ROOT).as_posix().replace("/", ".").removesuffix(".__init__"): file
    for package in PACKAGES
    for file in sorted((ROOT / package).rglob("*.py"))
}


def imported(file: Path) -> set[str]:
    """The modules that a file imports anywhere in it, also within functions."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in FILES else node.module for name in names}
    return found


IMPORTS = {module: imported(file) for module, file in FILES.items()}


def offending(breaks: Callable[[str, str], bool]) -> list[str]:
    """Each import that breaks a rule; the rule is given a file, relative to the root, and what it imports."""
    return [
        f"{path} imports {name}"
        for module, names in IMPORTS.items()
        for name in sorted(names)
        if breaks(path := FILES[module].relative_to(ROOT).as_posix(), name)
    ]


def test_imports_run_downwards() -> None:
    def breaks(path: str, name: str) -> bool:
        package, other = path.partition("/")[0], name.partition(".")[0]
        return other in PACKAGES and other not in PACKAGES[package] | {package}

    assert offending(breaks) == []


def test_a_heavy_library_stays_in_its_package() -> None:
    def breaks(path: str, name: str) -> bool:
        library = name.partition(".")[0]
        return library in LIBRARIES and not path.startswith(f"{LIBRARIES[library]}/")

    assert offending(breaks) == []


def test_imports_run_in_no_circle() -> None:
    graph = {module: (names & FILES.keys()) - {module} for module, names in IMPORTS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_serving_imports_no_tensorflow() -> None:
    modules = ["web.app", "indexer.batch", "indexer.cli", "retrieval.cli", "lookalike"]
    code = (
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(module)\n"
        "    loaded = [name for name in sys.modules if name.startswith(('tensorflow', 'keras'))]\n"
        "    assert not loaded, (module, loaded)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
