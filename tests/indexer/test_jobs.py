"""Job records and `lookalike jobs`: any process can list, show, retry and cancel jobs."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import make
import pytest
from waiting import until

from indexer import jobs
from indexer.background import BackgroundJobs
from indexer.batch import BatchResult, Failure
from indexer.job_retry import retry_request
from indexer.jobs import (
    IndexRequest,
    Job,
    JobRecord,
    cancel_job,
    count_jobs,
    list_jobs,
    load_job,
    read_failures,
    start_record,
)
from indexer.runner import run_job
from retrieval.bundle import Bundle
from retrieval.cancellation import CancellationToken
from retrieval.errors import BadSource, JobRunning, NotFound
from retrieval.index import IndexStore, VectorIndex, open_store
from retrieval.photo_ref import uri_of
from retrieval.settings import Settings


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Six photos and a damaged one."""
    folder = make.library(tmp_path / "photos", per_label=2)
    (folder / "red" / "bad.jpg").write_bytes(b"bad")
    return folder


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Enough photos that a job is still running when a test looks at it."""
    folder = tmp_path / "many"
    folder.mkdir()
    content = make.encoded(make.photo(size=(640, 480)))
    for number in range(1500):
        (folder / f"{number}.jpg").write_bytes(content + b"%d" % number)
    return folder


def start_process(source: Path, bundle: Bundle) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "lookalike", "index", source, "--bundle", bundle.folder, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def test_jobs_and_their_failures_are_listed_and_shown(command, bundle: Bundle, own: Path) -> None:
    assert "No photos have been indexed" in command("jobs", "list").out
    first = command("index", own, "--bundle", bundle.folder, "--json").json["job"]
    second = command("index", own, "--sync", "--json").json["job"]
    jobs = command("jobs", "list", "--json").json["jobs"]
    assert {job["id"] for job in jobs} == {first, second}
    shown = command("jobs", "show", first, "--json").json
    assert (shown["state"], shown["seen"], shown["indexed"], shown["failed"]) == ("done", 7, 6, 1)
    assert command("jobs", "show", second, "--json").json["sync"] is True
    (failure,) = command("jobs", "failures", first, "--json").json["failures"]
    assert failure["uri"] == uri_of(own / "red" / "bad.jpg")
    assert "not a photo" in failure["reason"]
    assert command("jobs", "failures", first, "--offset", 1, "--json").json["failures"] == []
    assert first in command("jobs", "list").out
    assert "bad.jpg" in command("jobs", "failures", first).out
    assert str(own) in command("jobs", "show", first).out


def test_retrying_an_interrupted_job_says_what_is_missing(command, settings: Settings) -> None:
    record = JobRecord(settings.jobs_folder, IndexRequest(["/photos"]), "net-1")
    record.end("interrupted")
    called = command("jobs", "retry", record.job.id)
    assert called.status == 1
    assert "It was interrupted. To index the rest of its photos, run the command again" in called.err


@pytest.mark.parametrize("job", ["20260101-000000-abcdef", "../../etc", "nonsense"])
@pytest.mark.parametrize("word", ["show", "failures", "retry", "cancel"])
def test_an_unknown_job_is_one_sentence(command, word: str, job: str) -> None:
    called = command("jobs", word, job, "--json")
    assert called.status == 1
    assert called.json["error"] == f"There is no job {job}."


def test_retry_indexes_only_failed_photos(command, bundle: Bundle, own: Path) -> None:
    job = command("index", own, "--bundle", bundle.folder, "--label-from", "none", "--json").json["job"]
    again = command("jobs", "retry", job, "--strict", "--json")
    assert (again.status, again.json["seen"], again.json["failed"]) == (1, 1, 1)
    (own / "red" / "bad.jpg").write_bytes(make.encoded(make.photo("red", 9)))
    fixed = command("jobs", "retry", again.json["job"], "--json").json
    assert (fixed["seen"], fixed["indexed"], fixed["failed"]) == (1, 1, 0)
    shown = command("jobs", "show", fixed["job"], "--json").json
    assert (shown["retry_of"], shown["label_from"]) == (again.json["job"], "none")
    nothing = command("jobs", "retry", fixed["job"])
    assert nothing.status == 1
    assert "Nothing failed" in nothing.err


@pytest.mark.parametrize("name", [b"caf\xe9", b"new\nline", b"no\xc2\xa0break", b"50% #1?", "日本".encode()])
def test_a_retry_finds_failed_photos_of_any_name(name: bytes, command, bundle: Bundle, tmp_path: Path) -> None:
    folder = make.library(tmp_path / "library", per_label=2).rename(tmp_path / os.fsdecode(name))
    broken = folder / "red" / f"{os.fsdecode(name)}.jpg"
    broken.write_text("Dear photo")
    job = command("index", folder, "--bundle", bundle.folder, "--json").json
    assert (job["indexed"], job["failed"]) == (6, 1)
    (failure,) = command("jobs", "failures", job["job"], "--json").json["failures"]
    assert failure["uri"] == uri_of(broken)
    (source,) = command("jobs", "show", job["job"], "--json").json["sources"]
    assert source.isprintable()
    broken.write_bytes(make.encoded(make.photo("red", 9)))
    for _ in range(2):
        called = command("jobs", "retry", job["job"], "--json")
        assert called.status == 0, called.err
    assert [called.json[count] for count in ("seen", "indexed", "unchanged", "failed")] == [1, 0, 1, 0]


def test_a_retry_indexes_a_folder_that_could_not_be_listed(
    settings: Settings, store: IndexStore, bundle: Bundle, own: Path
) -> None:
    record = JobRecord(settings.jobs_folder, IndexRequest([str(own)]), bundle.model_id)
    record.count(BatchResult(failures=(Failure(uri_of(own / "blue"), "refused"),)))
    record.end("done")
    request = retry_request(settings, record.job.id)
    assert request.sources == [str(own)]
    install = run_job(settings, store, IndexRequest([str(own / "green")], bundle.folder), CancellationToken(), ignore)
    assert install.job.indexed == 2
    assert run_job(settings, store, request, CancellationToken(), ignore).job.seen == 2


def test_a_retry_indexes_the_corrected_lines_of_a_manifest(command, bundle: Bundle, own: Path) -> None:
    manifest = own / "list.csv"
    manifest.write_text("path,label\nred/0.jpg,red\n,red\n")
    job = command("index", manifest, own / "blue", "--bundle", bundle.folder, "--json").json["job"]
    manifest.write_text("path,label\nred/0.jpg,red\nred/1.jpg,red\n")
    retried = command("jobs", "retry", job, "--json").json
    assert [retried[name] for name in ("seen", "indexed", "unchanged", "failed")] == [2, 1, 1, 0]


def test_a_half_written_line_of_a_killed_job_hides_no_failure(settings: Settings, bundle: Bundle, own: Path) -> None:
    record = JobRecord(settings.jobs_folder, IndexRequest([str(own)]), bundle.model_id)
    failure = Failure(uri_of(own / "red" / "bad.jpg"), "not a photo")
    record.count(BatchResult(failures=(failure,)))
    whole = record.failures.read_text()
    record.failures.write_text(whole + whole[: len(whole) // 2])
    assert load_job(settings, record.job.id).failed == 0
    assert read_failures(settings, record.job.id) == [failure]
    assert retry_request(settings, record.job.id).retry_of == record.job.id


def test_damaged_lines_hide_no_other_failure(settings: Settings, bundle: Bundle, own: Path) -> None:
    record = JobRecord(settings.jobs_folder, IndexRequest([str(own)]), bundle.model_id)
    failure = Failure(uri_of(own / "red" / "bad.jpg"), "not a photo")
    record.count(BatchResult(failures=(failure,)))
    damage = b'garbage\n{"uri": 1}\n[]\n\xff\xfe\n' + bytes(100) + b"\n"
    record.failures.write_bytes(damage + record.failures.read_bytes())
    assert read_failures(settings, record.job.id) == [failure]


def test_a_killed_job_is_interrupted(settings: Settings, bundle: Bundle, many: Path) -> None:
    process = start_process(many, bundle)
    with process:
        until(lambda: [job for job in list_jobs(settings) if job.seen])
        (job,) = list_jobs(settings)
        assert job.state == "running"
        process.kill()
    killed = load_job(settings, job.id)
    assert killed.state == "interrupted"
    assert 0 < killed.seen < 1500


def test_a_job_of_another_process_is_cancelled(command, settings: Settings, bundle: Bundle, many: Path) -> None:
    process = start_process(many, bundle)
    with process:
        until(lambda: list_jobs(settings))
        (job,) = list_jobs(settings)
        assert command("jobs", "cancel", job.id, "--json").json == {
            "job": job.id,
            "state": "running",
            "cancelled": True,
        }
        result = json.loads(process.stdout.read())
    assert process.returncode == 130
    assert result["state"] == load_job(settings, job.id).state == "cancelled"
    assert result["indexed"] < 1500
    assert "has already ended: cancelled" in command("jobs", "cancel", job.id).out
    with open_store(settings).open(bundle.model_id, bundle.dimension) as index:
        assert index.count() >= result["indexed"]


def test_a_background_job_shares_the_open_index(
    settings: Settings, store: IndexStore, bundle: Bundle, index: VectorIndex, own: Path
) -> None:
    with BackgroundJobs(settings, store) as jobs:
        job = jobs.start(IndexRequest([str(own)], bundle.folder))
        assert job.state == "running"
        until(lambda: load_job(settings, job.id).state == "done")
        assert [failure.uri for failure in read_failures(settings, job.id)] == [uri_of(own / "red" / "bad.jpg")]
        assert index.count() == 6
        with pytest.raises(BadSource, match="nowhere"):
            jobs.start(IndexRequest([str(own / "nowhere")], bundle.folder))
        with pytest.raises(NotFound, match="Nothing failed"):
            retry_request(settings, _end_of(jobs.start(IndexRequest([str(own / "green")], bundle.folder)), settings).id)


def test_one_job_at_a_time_and_closing_ends_it(
    settings: Settings, store: IndexStore, bundle: Bundle, index: VectorIndex, many: Path
) -> None:
    with BackgroundJobs(settings, store) as jobs:
        job = jobs.start(IndexRequest([str(many)], bundle.folder))
        with pytest.raises(JobRunning):
            jobs.start(IndexRequest([str(many)], bundle.folder))
        cancel_job(settings, job.id)
        assert _end_of(job, settings).state == "cancelled"
        other = jobs.start(IndexRequest([str(many)], bundle.folder))
    assert load_job(settings, other.id).state == "interrupted"
    assert index.count() < 1500


def test_urls_of_a_client_are_never_fetched(settings: Settings, store: IndexStore, bundle: Bundle, own: Path) -> None:
    manifest = own / "list.csv"
    manifest.write_text("path,label\nhttp://127.0.0.1:1/1.jpg,red\nred/0.jpg,red\n")
    cancellation = CancellationToken()
    with pytest.raises(BadSource, match="is a URL"):
        run_job(settings, store, IndexRequest(["http://127.0.0.1:1/list.csv"], bundle.folder), cancellation, ignore)
    finished = run_job(settings, store, IndexRequest([str(manifest)], bundle.folder), cancellation, ignore)
    assert (finished.job.seen, finished.job.indexed, finished.job.failed) == (2, 1, 1)
    assert "line 2: http://127.0.0.1:1/1.jpg is a URL" in finished.record.first_failures[0].reason


def test_an_interrupted_process_leaves_an_interrupted_job(settings: Settings, bundle: Bundle, many: Path) -> None:
    process = start_process(many, bundle)
    with process:
        until(lambda: list_jobs(settings))
        os.kill(process.pid, signal.SIGINT)
        result = json.loads(process.stdout.read())
    assert load_job(settings, result["job"]).state == "interrupted"


def test_a_second_ctrl_c_leaves_an_interrupted_job_and_an_error_a_failed_one(
    settings: Settings, bundle: Bundle, own: Path
) -> None:
    for error, state in ((KeyboardInterrupt(), "interrupted"), (BadSource("It is gone."), "failed")):
        record = JobRecord(settings.jobs_folder, IndexRequest([str(own)]), bundle.model_id)
        with pytest.raises(type(error)), record.ended_by_errors():
            raise error
        job = load_job(settings, record.job.id)
        assert (job.state, job.error_type) == (state, None if state == "interrupted" else "bad-source")


def ignore(job: Job) -> None:
    """A progress callback that does nothing."""


def _end_of(job: Job, settings: Settings) -> Job:
    until(lambda: load_job(settings, job.id).state != "running")
    return load_job(settings, job.id)


def test_the_oldest_records_are_deleted_except_of_running_jobs(settings: Settings) -> None:
    few = settings.model_copy(update={"keep_jobs": 3})
    running, *ended = (JobRecord(settings.jobs_folder, IndexRequest(["photos"]), "net-1") for _ in range(6))
    for number, record in enumerate([running, *ended]):  # their ids start with the time
        record.folder = record.folder.rename(settings.jobs_folder / f"20260101-00000{number}-abcdef")
    for record in ended:
        record.end("done")
    newest = start_record(few, IndexRequest(["photos"]), "net-1")
    newest.end("done")
    left = sorted(path.name for path in settings.jobs_folder.iterdir())
    assert left == [running.folder.name, *(record.folder.name for record in ended[-2:]), newest.folder.name]
    running.end("done")


def test_a_page_of_the_list_reads_only_its_own_records(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        record = JobRecord(settings.jobs_folder, IndexRequest([f"photos-{number}"]), "net-1")
        record.folder = record.folder.rename(settings.jobs_folder / f"20260101-00000{number}-abcdef")
        record.end("done")
    read: list[str] = []
    monkeypatch.setattr(jobs, "_read", lambda folder, _read=jobs._read: read.append(folder.name) or _read(folder))
    page = list_jobs(settings, offset=1, limit=2)
    assert [job.sources for job in page] == [["photos-3"], ["photos-2"]]
    assert read == ["20260101-000003-abcdef", "20260101-000002-abcdef"]
    assert (count_jobs(settings), len(list_jobs(settings))) == (5, 5)
