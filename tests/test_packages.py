"""The rules for imports: one direction between packages, no cycle, and one package for each heavy library."""

import ast
import subprocess
import sys
import zipfile
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
    "lookalike": {"retrieval", "trainer"},
}
LIBRARIES = {
    "tensorflow": "trainer",
    "tensorflow_addons": "trainer",
    "tensorflow_datasets": "trainer",
    "huggingface_hub": "retrieval/importing",
    "tokenizers": "retrieval",
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
    """Return the modules that a file imports, including imports within functions."""
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
    """Return the imports that break a rule, which is called with each file, relative to the root, and each import."""
    return [
        f"{path} imports {name}"
        for module, names in IMPORTS.items()
        for name in sorted(names)
        if breaks(path := FILES[module].relative_to(ROOT).as_posix(), name)
    ]


def test_packages_import_in_one_direction() -> None:
    def breaks(path: str, name: str) -> bool:
        package, other = path.partition("/")[0], name.partition(".")[0]
        return other in PACKAGES and other not in PACKAGES[package] | {package}

    assert offending(breaks) == []


def test_a_heavy_library_stays_in_its_package() -> None:
    def breaks(path: str, name: str) -> bool:
        library = name.partition(".")[0]
        return library in LIBRARIES and not path.startswith(f"{LIBRARIES[library]}/")

    assert offending(breaks) == []


def test_there_is_no_import_cycle() -> None:
    graph = {module: (names & FILES.keys()) - {module} for module, names in IMPORTS.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" → ".join(error.args[1]))


def test_serving_imports_no_tensorflow() -> None:
    modules = [
        "web.app",
        "indexer.batch",
        "indexer.cli",
        "retrieval.cli",
        "retrieval.importing.importer",
        "lookalike.cli",
    ]
    code = (
        "import importlib, sys\n"
        f"for module in {modules}:\n"
        "    importlib.import_module(module)\n"
        "    loaded = [name for name in sys.modules if name.startswith(('tensorflow', 'keras'))]\n"
        "    assert not loaded, (module, loaded)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_onnx_runtime_is_imported_after_its_telemetry_is_turned_off() -> None:
    at_import = {
        FILES[module].relative_to(ROOT).as_posix()
        for module, file in FILES.items()
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if "onnxruntime" in ast.unparse(node) and isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert at_import == {"retrieval/session.py"}


@pytest.mark.slow
def test_importing_lookalike_loads_nothing_else() -> None:
    code = (
        "import sys, lookalike\n"
        "packages = {name.partition('.')[0] for name in sys.modules}\n"
        "assert not packages & {'retrieval', 'trainer', 'indexer', 'web', 'numpy', 'onnxruntime', 'PIL', 'pydantic'}\n"
        "assert callable(lookalike.load_bundle) and callable(lookalike.open_searcher)\n"
        "assert lookalike.Searcher.__module__ == 'retrieval.search' and lookalike.__version__\n"
        "from lookalike import *\n"
        "assert Searcher is lookalike.Searcher and not hasattr(lookalike, 'nothing')\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_the_wheel_holds_every_file_of_the_packages(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {
        file.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix != ".pyc"
    }
    assert packed == expected
    assert {"lookalike/py.typed", "retrieval/py.typed", "web/templates/base.html", "trainer/report/page.py"} <= packed
    folders = {file.rpartition("/")[0] for file in packed if file.endswith(".py")}
    assert {f"{folder}/__init__.py" for folder in folders} <= packed
