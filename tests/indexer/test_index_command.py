"""`lookalike index` and `lookalike crosscheck`."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import make
import pytest

from indexer.batch import BatchResult
from indexer.jobs import JobRecord, list_jobs
from retrieval.bundle import Bundle, load_bundle
from retrieval.index import open_store
from retrieval.photo_ref import uri_of
from retrieval.settings import Settings

KEYS = {"job", "seen", "indexed", "unchanged", "removed", "failed", "seconds", "images_per_second"}


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A library of six photos that a test may change."""
    return make.library(tmp_path / "photos", per_label=2)


def counts(result: dict[str, object]) -> tuple[object, ...]:
    return tuple(result[name] for name in ("seen", "indexed", "unchanged", "removed", "failed"))


def test_the_first_job_installs_its_bundle_and_makes_the_model_current(
    command, settings: Settings, bundle: Bundle, library: Path
) -> None:
    called = command("index", library, "--bundle", bundle.folder, "--json")
    result = called.json
    assert called.status == 0
    assert result.keys() >= KEYS
    assert counts(result) == (24, 24, 0, 0, 0)
    assert result["images_per_second"] == pytest.approx(24 / result["seconds"], rel=0.01)
    assert load_bundle(settings.models_folder / bundle.model_id).manifest == bundle.manifest
    assert open_store(settings).current() == bundle.model_id
    again = command("index", library, "--json")
    assert counts(again.json) == (24, 0, 24, 0, 0)


def test_the_job_is_recorded(command, settings: Settings, bundle: Bundle, own: Path) -> None:
    (own / "red" / "bad.jpg").write_bytes(b"bad")
    result = command("index", own, "--bundle", bundle.folder, "--json").json
    folder = settings.jobs_folder / result["job"]
    record = json.loads((folder / "job.json").read_text())
    assert record["state"] == "done"
    assert record["sources"] == [str(own)]
    assert counts(record) == counts(result) == (7, 6, 0, 0, 1)
    (failure,) = map(json.loads, (folder / "failures.jsonl").read_text().splitlines())
    assert failure["uri"].endswith("/red/bad.jpg")
    assert "not a photo" in failure["reason"]
    assert result["failures"] == str(folder / "failures.jsonl")


def test_a_job_without_a_readable_photo_fails_and_makes_no_model_current(
    command, settings: Settings, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"no photo")
    called = command("index", tmp_path / "photos", "--bundle", bundle.folder)
    assert called.status == 1 and "No photo could be indexed" in called.err
    assert open_store(settings).current() is None


def test_failed_photos_are_reported_and_are_an_error_only_with_strict(command, bundle: Bundle, own: Path) -> None:
    for number in range(12):
        (own / "red" / f"bad{number:02}.jpg").write_bytes(b"")
    called = command("index", own, "--bundle", bundle.folder)
    assert called.status == 0
    assert called.err.count("It is empty (0 bytes).") == 10
    assert "bad00.jpg" in called.err
    assert "All 12 failures" in called.err
    assert "12 failed" in called.out
    assert command("index", own, "--strict").status == 1


def test_sync_removes_what_is_gone(command, bundle: Bundle, own: Path) -> None:
    command("index", own, "--bundle", bundle.folder)
    (own / "red" / "0.jpg").unlink()
    assert counts(command("index", own, "--json").json) == (5, 0, 5, 0, 0)
    assert counts(command("index", own, "--sync", "--json").json) == (5, 0, 5, 1, 0)


@pytest.mark.parametrize(("label_from", "labels"), [("none", {}), ("folder", {"red": 2, "green": 2, "blue": 2})])
def test_labels_come_from_the_specified_place(
    label_from: str, labels: dict[str, int], command, settings: Settings, bundle: Bundle, own: Path
) -> None:
    command("index", own, "--bundle", bundle.folder, "--label-from", label_from)
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        assert index.labels() == labels


def test_a_manifest_and_a_folder_in_one_job(command, settings: Settings, bundle: Bundle, own: Path) -> None:
    manifest = own.parent / "list.jsonl"
    manifest.write_text('{"path": "photos/red/0.jpg", "label": "crimson"}\n')
    result = command("index", manifest, own / "blue", "--bundle", bundle.folder, "--json").json
    assert counts(result) == (3, 3, 0, 0, 0)
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        assert index.labels() == {"blue": 2, "crimson": 1}


@pytest.mark.parametrize("as_json", [False, True], ids=["text", "json"])
def test_an_error_of_the_source_is_one_sentence(as_json: bool, command, bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    called = command("index", tmp_path / "empty", "--bundle", bundle.folder, *(["--json"] if as_json else []))
    assert called.status == 1
    assert "empty contains no photos." in called.err
    assert "Traceback" not in called.err
    assert called.out == "" if not as_json else "contains no photos" in called.json["error"]


def test_without_a_model_the_error_explains_how_to_train_one(command, library: Path) -> None:
    called = command("index", library)
    assert called.status == 1
    assert "lookalike train" in called.err


def test_without_a_model_the_error_has_commands_to_paste(command, own: Path, tmp_path: Path) -> None:
    spaced = own.rename(tmp_path / "my photos")
    called = command("index", spaced, "--json")
    assert called.status == 1
    for line in (
        f"lookalike train --data '{spaced}' --recipe pretrained --out my-model",
        "lookalike train --data LABELLED --out my-model",
        f"lookalike index '{spaced}' --bundle my-model",
        f"lookalike demo --data '{spaced}'",
    ):
        assert f"\n    {line}\n" in called.err + "\n"
        assert line in called.json["remedy"]


def test_a_damaged_bundle_is_refused_and_nothing_is_written(
    command, settings: Settings, bundle: Bundle, library: Path, tmp_path: Path
) -> None:
    damaged = make.bundle(tmp_path / "damaged")
    network = bytearray(damaged.network.read_bytes())
    network[len(network) // 2] ^= 1
    damaged.network.write_bytes(network)
    called = command("index", library, "--bundle", damaged.folder)
    assert called.status == 1
    assert "damaged" in called.err
    assert not settings.index_folder.exists()


def test_a_bundle_that_contradicts_its_network_leaves_nothing_behind(
    command, settings: Settings, library: Path, tmp_path: Path
) -> None:
    lying = make.bundle(tmp_path / "lying").folder / "bundle.json"
    truth = lying.read_text()
    lying.write_text(truth.replace('"dimension": 16', '"dimension": 8').replace('"length": 16', '"length": 8'))
    called = command("index", library, "--bundle", lying.parent)
    assert called.status == 1
    assert "not the network that its bundle describes" in called.err
    assert not settings.home.exists()
    lying.write_text(truth)
    assert command("index", library, "--bundle", lying.parent).status == 0


def test_a_damaged_installed_bundle_is_replaced_by_specifying_an_intact_one(
    command, settings: Settings, bundle: Bundle, library: Path
) -> None:
    command("index", library, "--bundle", bundle.folder)
    (settings.models_folder / bundle.model_id / "embedder.onnx").write_bytes(b"damaged")
    assert command("index", library).status == 1
    assert command("index", library, "--bundle", bundle.folder).status == 0
    assert command("index", library).status == 0


def test_a_second_model_is_indexed_beside_the_current_one(
    command, settings: Settings, bundle: Bundle, own: Path, tmp_path: Path
) -> None:
    command("index", own, "--bundle", bundle.folder)
    other = make.bundle(tmp_path / "other", seed=1)
    called = command("index", own, "--bundle", other.folder)
    assert called.status == 0
    assert f"lookalike models activate {other.model_id}" in called.err
    store = open_store(settings)
    assert store.current() == bundle.model_id
    assert store.models() == sorted([bundle.model_id, other.model_id])


def test_the_last_cross_check_is_saved(command, settings: Settings, bundle: Bundle, library: Path) -> None:
    command("index", library, "--bundle", bundle.folder)
    called = command("crosscheck", "--sample", 10, "-k", 3, "--json")
    assert called.status == 0
    kept = json.loads((settings.home / "crosscheck" / f"{bundle.model_id}.json").read_text())
    assert kept == called.json
    assert (kept["queries"], kept["recall_at_k"], kept["disagreements"], kept["passed"]) == (10, 1.0, [], True)


def test_searching_for_an_unknown_label_is_an_error(command, bundle: Bundle, library: Path) -> None:
    command("index", library, "--bundle", bundle.folder)
    called = command("search", library / "red" / "0.jpg", "--label", "nosuch", "--json")
    assert called.status == 1
    assert called.json["error"] == "No indexed photo has the label nosuch."


def test_an_index_held_by_another_process_is_named(command, settings: Settings, bundle: Bundle, library: Path) -> None:
    command("index", library, "--bundle", bundle.folder)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import sys; from retrieval.current_model import open_searcher\n"
         "from retrieval.index import open_store; from retrieval.settings import load_settings\n"
         "settings = load_settings(); searcher = open_searcher(settings, open_store(settings))\n"
         "print('held', flush=True); sys.stdin.read()"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    with holder:
        holder.stdout.readline()
        called = command("index", library)
        assert called.status == 1
        assert f"process {holder.pid}" in called.err
        listed = command("models", "list", "--json")
        assert listed.status == 0
        assert listed.json["models"][0]["points"] == 24
        holder.stdin.close()


@pytest.mark.slow
def test_ctrl_c_stops_after_the_batch_and_says_that_running_again_continues(
    command, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = many_photos(tmp_path / "many", 600)
    count = JobRecord.count

    def interrupt(record: JobRecord, result: BatchResult) -> None:
        count(record, result)
        if result.seen == record.job.seen > 0:  # the first batch
            os.kill(os.getpid(), signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(JobRecord, "count", interrupt)
        called = command("index", library, "--bundle", bundle.folder, "--json")
    assert called.status == 130
    assert "Run the same command again to continue" in called.err
    assert called.json["state"] == "interrupted"
    assert 0 < called.json["indexed"] < 600
    continued = command("index", library, "--bundle", bundle.folder, "--json").json
    assert continued["unchanged"] == called.json["indexed"]
    assert continued["indexed"] + continued["unchanged"] == 600


def test_a_photo_without_read_permission_fails_alone(settings: Settings, bundle: Bundle, own: Path) -> None:
    (own / "red" / "0.jpg").chmod(0)
    done = subprocess.run(
        [sys.executable, "-m", "lookalike", "index", own, "--bundle", bundle.folder, "--json"],
        capture_output=True, text=True, check=True, preexec_fn=_respect_permissions,
    )  # fmt: skip
    assert counts(json.loads(done.stdout)) == (6, 5, 0, 0, 1)
    assert "0.jpg can't be read (Permission denied)." in done.stderr


@pytest.mark.slow
def test_a_folder_that_cannot_be_listed_is_one_failure_and_loses_no_photo(
    command, settings: Settings, bundle: Bundle, own: Path
) -> None:
    command("index", own, "--bundle", bundle.folder)
    (own / "blue" / "0.jpg").unlink()
    (own / "red").chmod(0)
    done = subprocess.run(
        [sys.executable, "-m", "lookalike", "index", own, "--sync", "--json"],
        capture_output=True, text=True, check=True, preexec_fn=_respect_permissions,
    )  # fmt: skip
    (own / "red").chmod(0o700)
    result = json.loads(done.stdout)
    assert counts(result) == (4, 0, 3, 1, 1)
    (failure,) = map(json.loads, Path(result["failures"]).read_text().splitlines())
    assert failure["uri"] == uri_of(own / "red")
    assert done.stderr.count("red can't be listed (Permission denied).") == 1
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        assert index.labels() == {"green": 2, "red": 2, "blue": 1}


def test_an_index_of_another_user_is_reported(command, settings: Settings, bundle: Bundle, own: Path) -> None:
    command("index", own, "--bundle", bundle.folder)
    (settings.index_folder / bundle.model_id / "holder.json").chmod(0o444)
    done = subprocess.run(
        [sys.executable, "-m", "lookalike", "search", own / "red" / "0.jpg"],
        capture_output=True, text=True, check=False, preexec_fn=_respect_permissions,
    )  # fmt: skip
    assert done.returncode == 1
    assert "can't be opened" in done.stderr
    assert "Correct the permissions of that folder" in done.stderr


def test_a_manifest_without_read_permission_is_reported(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    manifest = tmp_path / "list.csv"
    manifest.write_text("path,label\n1.jpg,red\n")
    manifest.chmod(0)
    done = subprocess.run(
        [sys.executable, "-m", "lookalike", "index", manifest, "--bundle", bundle.folder],
        capture_output=True, text=True, check=False, preexec_fn=_respect_permissions,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "list.csv can't be read (Permission denied)." in done.stderr


def _respect_permissions() -> None:
    """Drop root's right to read every file (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH) if the tests run as root."""
    if os.geteuid() == 0:
        drop_capability = 24
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(drop_capability, capability, 0, 0, 0)


def many_photos(folder: Path, count: int) -> Path:
    """Many different files of a few different photos, quickly made."""
    folder.mkdir()
    contents = [make.encoded(make.photo(label, seed, (640, 480))) for label in make.COLOURS for seed in range(4)]
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(contents[number % len(contents)] + b"%d" % number)
    return folder


def test_what_is_skipped_is_counted_in_every_output(command, settings: Settings, bundle: Bundle, own: Path) -> None:
    for name in ("red/1.mov", "red/2.mov", "red/@eaDir/0.jpg", ".lookalike/1.jpg", "blue/old/1.jpg"):
        (own / name).parent.mkdir(exist_ok=True)
        (own / name).write_bytes(make.encoded(make.photo()))
    called = command("index", own, "--bundle", bundle.folder, "--exclude", "old/")
    assert "\nSkipped: 2 .mov, 1 in .lookalike, 1 in @eaDir, 1 excluded by old/." in called.out
    result = command("index", own, "--exclude", "old/", "--json").json
    assert counts(result) == (6, 0, 6, 0, 0)
    assert result["seen"] == result["indexed"] + result["unchanged"] + result["failed"]
    assert result["skipped"] == 5
    assert result["skipped_reasons"][0] == {"reason": "format", "detail": ".mov", "count": 2, "example": "red/1.mov"}
    (job, *_) = list_jobs(settings)
    assert job.skipped == 5 and [reason.reason for reason in job.skipped_reasons][1:] == [
        "hidden",
        "system",
        "excluded",
    ]
    assert job.exclude == ["old/"]


def test_the_home_in_the_library_is_not_indexed(
    command, settings: Settings, bundle: Bundle, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOKALIKE_HOME", str(own / "state"))
    thumbnail = own / "state" / "thumbnails" / "1.jpg"
    thumbnail.parent.mkdir(parents=True)
    thumbnail.write_bytes(make.encoded(make.photo()))
    result = command("index", own, "--bundle", bundle.folder, "--json").json
    assert (result["indexed"], result["skipped_reasons"][0]["reason"]) == (6, "home")


def test_a_line_that_names_no_photo_is_seen_and_failed(command, bundle: Bundle, own: Path) -> None:
    manifest = own / "list.csv"
    manifest.write_text("path,label\nred/0.jpg,red\n,blue\n")
    result = command("index", manifest, "--bundle", bundle.folder, "--json").json
    assert counts(result) == (2, 1, 0, 0, 1)


def test_folders_named_like_splits_do_not_become_labels(
    command, settings: Settings, bundle: Bundle, own: Path, tmp_path: Path
) -> None:
    for split in ("train", "test"):
        (tmp_path / "data").mkdir(exist_ok=True)
        make.library(tmp_path / "data" / split, per_label=1)
    called = command("index", tmp_path / "data", "--bundle", bundle.folder)
    assert "The folders test and train are used as splits, and the folders in them as labels." in called.err
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        assert index.labels() == {"red": 2, "green": 2, "blue": 2}


def test_a_subfolder_keeps_the_labels_of_its_library(command, settings: Settings, bundle: Bundle, own: Path) -> None:
    (own / "red" / "2024").mkdir()
    (own / "red" / "0.jpg").rename(own / "red" / "2024" / "0.jpg")
    command("index", own, "--bundle", bundle.folder)

    def labels() -> dict[str, int]:
        with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
            return index.labels()

    for source in ("red", "red/2024"):
        called = command("index", own / source)
        assert labels() == {"red": 2, "green": 2, "blue": 2}
        assert "1 photo kept the label in the index" in called.err
    assert command("index", own / "red", "--relabel", "--json").json["notices"] == []
    assert labels() == {"red": 1, "2024": 1, "green": 2, "blue": 2}


def test_a_folder_keeps_what_a_manifest_says(command, settings: Settings, bundle: Bundle, own: Path) -> None:
    manifest = own / "list.csv"
    manifest.write_text("path,label,price\nred/0.jpg,crimson,5\n")
    command("index", manifest, "--bundle", bundle.folder)
    command("index", own)
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        assert index.labels() == {"crimson": 1, "red": 1, "green": 2, "blue": 2}
        assert {"price": "5"} in [point.payload.extra for point in index.scroll()]
    manifest.write_text("path,label,price\nred/0.jpg,scarlet,7\n")
    command("index", manifest)
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        assert index.labels()["scarlet"] == 1


def test_the_last_label_of_a_manifest_wins_every_time(command, settings: Settings, bundle: Bundle, own: Path) -> None:
    manifest = own / "list.csv"
    manifest.write_text("path,label\nred/0.jpg,rose\nred/0.jpg,daisy\n")
    for _ in range(3):
        called = command("index", manifest, "--bundle", bundle.folder)
        assert "has two labels in" in called.err
        with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
            assert index.labels() == {"daisy": 1}


def test_a_sync_removes_nothing_of_an_unmounted_share(command, bundle: Bundle, own: Path) -> None:
    command("index", own, "--bundle", bundle.folder)
    (own / "red").rename(own.parent / "unmounted")
    (own / "red").mkdir()
    (own / "green" / "new.jpg").write_bytes(make.encoded(make.photo("green", 9)))
    called = command("index", own, "--sync", "--json")
    assert called.status == 1
    assert (called.json["indexed"], called.json["removed"]) == (1, 0)
    (refused,) = called.json["removal_refused"]
    assert (refused["source"], refused["would_remove"], refused["of"]) == (str(own), 2, 7)
    assert "is empty now" in refused["reason"] and "--allow-removing 2" in called.err
    assert command("index", own, "--sync", "--allow-removing", "many").status == 2
    allowed = command("index", own, "--sync", "--allow-removing", "2", "--json")
    assert (allowed.status, allowed.json["removed"], allowed.json["removal_refused"]) == (0, 2, [])


def test_a_source_that_is_gone_can_be_forgotten(command, bundle: Bundle, own: Path) -> None:
    command("index", own / "red", own / "blue", "--bundle", bundle.folder)
    (own / "red").rename(own.parent / "elsewhere")
    refused = command("index", own / "red", "--sync")
    assert refused.status == 1 and f"lookalike sources forget {own / 'red'}" in refused.err
    listed = command("sources", "list", "--json").json
    assert [(one["photos"], one["exists"]) for one in listed["sources"]] == [(2, True), (2, False)]
    assert command("sources", "forget", own / "red", "--json").json["removed"] == 2
    assert command("sources", "restore", own / "red" / "0.jpg").status == 0
    assert command("sources", "restore", own / "red" / "9.jpg").status == 1
    assert command("sources", "list", "--json").json["removed"] == 1
    assert "1 that syncs removed, and 0 that were removed by hand" in command("sources", "list").err


def test_colour_profiles_that_can_not_be_used_are_counted(command, bundle: Bundle, own: Path) -> None:
    for name in ("2.jpg", "3.jpg"):
        make.photo("red", 5).save(own / "red" / name, icc_profile=b"no profile")
    notices = command("index", own, "--bundle", bundle.folder, "--json").json["notices"]
    assert notices == [
        "2 photos with a colour profile that is damaged or for other photos; it is ignored. `lookalike check` shows an "
        "example."
    ]
