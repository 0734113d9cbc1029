"""`lookalike serve` as a process: start, stop, and what keeps it from starting."""

import http.client
import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from select import select
from typing import IO
from urllib.parse import SplitResult, urlsplit
from urllib.request import urlopen

import make
import psutil
import pytest
from marks import slow
from serving import LOOKALIKE, ROOT, Served, fill_index, serving, worker, workers
from waiting import free_port, until, until_it_listens

from indexer.jobs import IndexRequest, JobRecord
from retrieval.api_keys import load_keys
from retrieval.bundle import Bundle
from retrieval.cores import usable_cores
from retrieval.index import open_store
from retrieval.settings import Settings

CONTINUE, REFUSED = b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 400"


@pytest.fixture
def indexed(settings: Settings, bundle: Bundle, library: Path) -> Settings:
    fill_index(settings, bundle, library)
    return settings


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*LOOKALIKE, *arguments], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60)


def fails(process: subprocess.CompletedProcess[str], *words: str) -> None:
    said = json.loads(process.stdout)
    assert process.returncode == 1
    assert all(word in said["error"] for word in words), said
    assert said["remedy"] and "Traceback" not in process.stderr


def test_it_answers_and_lets_go_of_the_index(indexed: Settings, bundle: Bundle) -> None:
    with serving() as url, urlopen(f"{url}/readyz") as ready:
        assert json.load(ready)["photos"] == 24
    with open_store(indexed).open(bundle.model_id, bundle.dimension) as index:
        assert index.count() == 24


@pytest.mark.slow
def test_beside_an_index_server_there_are_as_many_processes_as_cores(
    settings: Settings, bundle: Bundle, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    with subprocess.Popen([sys.executable, ROOT / "tests" / "qdrant_http.py", str(port)]) as qdrant:
        until_it_listens(qdrant, port)
        monkeypatch.setenv("LOOKALIKE_QDRANT_URL", f"http://127.0.0.1:{port}")
        photos = fill_index(Settings(), bundle, library)
        with serving() as url:
            for _ in range(8):
                with urlopen(f"{url}/api/v1/images/{photos[0].id}/similar?k=3") as answer:
                    assert len(json.load(answer)["results"]) == 3
            until(lambda: len(workers()) == usable_cores())
            with urlopen(f"{url}/metrics") as measured:
                assert "lookalike_results_total 24.0" in measured.read().decode(), "whoever answered"
        qdrant.kill()


@pytest.mark.parametrize(
    ("stop", "key", "host"), [(signal.SIGINT, "", "127.0.0.1"), slow(signal.SIGTERM, "a+b & ü=#%41", "0.0.0.0")]
)
def test_it_says_where_it_is_and_stops_when_told(indexed: Settings, stop: signal.Signals, key: str, host: str) -> None:
    (indexed.home / "api-key").write_text(key, encoding="utf-8")  # an empty file is replaced
    command = [*LOOKALIKE, "serve", "--host", host, "--port", "0"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert f"http://{host}:" in line_with("24 photos", process.stderr)
    signs_in(line_with("/login?key=", process.stderr).split()[-1])
    if host == "0.0.0.0":
        assert "Anyone" in line_with("LOOKALIKE_READS_NEED_KEY=true", process.stderr)
    children = psutil.Process(process.pid).children()
    assert len(children) == 1
    process.send_signal(stop)
    assert process.wait(timeout=20) == 0
    assert not children[0].is_running()


def signs_in(link: str) -> None:
    """Open a link as a browser does; the cookie that it sets permits writing."""
    parts = urlsplit(link)
    browser = http.client.HTTPConnection(parts.netloc, timeout=30)
    browser.request("GET", f"{parts.path}?{parts.query}")
    answer = browser.getresponse()
    answer.read()
    cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]
    assert answer.status == 303 and cookie.startswith(f"lookalike_{parts.port}=")
    for headers, status in (({}, 401), ({"Cookie": cookie}, 422)):
        browser.request("POST", "/api/v1/jobs", body="[]", headers={"Content-Type": "application/json", **headers})
        answer = browser.getresponse()
        answer.read()
        assert answer.status == status
    browser.close()


def line_with(text: str, log: IO[str]) -> str:
    """The next line of a log that has this text."""
    return next(line for line in log if text in line)


def test_a_port_in_use_is_named(indexed: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        fails(run("serve", "--json", "--port", str(port)), f"Port {port} of 127.0.0.1 is in use")


def test_a_strange_address_is_refused(indexed: Settings) -> None:
    fails(run("serve", "--json", "--port", "0", "--host", "203.0.113.7"), "203.0.113.7")


@pytest.mark.slow
def test_a_second_process_is_told_which_one_holds_the_index(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_HOME", str(served.home))
    fails(run("serve", "--json", "--port", "0"), "is held by another process: `lookalike serve")


@pytest.mark.slow
def test_a_stopped_workers_place_is_taken(indexed: Settings) -> None:
    with serving() as url:
        killed = worker()
        killed.kill()
        until(lambda: {process.pid for process in workers()} - {killed.pid})
        until(lambda: is_healthy(url))


def is_healthy(url: str) -> bool:
    with suppress(OSError), urlopen(f"{url}/healthz", timeout=5) as healthy:
        return healthy.status == 200
    return False


def test_a_client_reads_why_its_upload_is_too_large(served: Served) -> None:
    connection = http.client.HTTPConnection(urlsplit(served.url).netloc, timeout=30)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/api/v1/search", body=b"\xff" * 25_000_000, headers=headers)
    response = connection.getresponse()
    assert response.status == 413
    assert json.load(response)["detail"] == "The upload is larger than 20 MB."


@pytest.mark.slow
def test_silent_clients_do_not_block_others(indexed: Settings) -> None:
    head = b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=x\r\n"
    head += b"Expect: 100-continue\r\nContent-Length: 100000\r\n\r\n"
    with impatient("server.MAX_SILENCE = 5") as address, ExitStack() as stack:
        slow = [stack.enter_context(connected(address)) for _ in range(24)]
        for client in slow:
            client.sendall(head)
        for client in slow:
            assert received(client, CONTINUE) == CONTINUE, "all of them hold a thread"
            client.sendall(b"--x\r\n")
        assert is_healthy(address.geturl())
        assert not select(slow, [], [], 0)[0], "the healthy answer came while they were waited for"
        assert received(slow[0], REFUSED) == REFUSED


def test_a_request_that_cannot_be_read_gets_a_problem_document(served: Served) -> None:
    unreadable = {
        b"GET /%s HTTP/1.1\r\n\r\n" % (b"a" * 9000): 414,
        b"GET / HTTP/1.1\r\nX-Long: %s\r\n\r\n" % (b"a" * 9000): 431,
        b"GET / HTTP/1.1\r\nTransfer-Encoding: br\r\n\r\n": 501,
        b"GET / HTTP/1.1\r\nno header\r\n\r\n": 400,
        b"<script>alert(1)</script>\r\n\r\n": 400,
    }
    address = urlsplit(served.url)
    for sent, status in unreadable.items():
        with socket.create_connection((address.hostname, address.port), timeout=10) as client:
            client.sendall(sent)
            answer = http.client.HTTPResponse(client)
            answer.begin()
            problem = json.loads(answer.read())
        assert answer.status == problem["status"] == status, sent[:60]
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert problem["detail"].endswith(".") and "script" not in problem["detail"]


@contextmanager
def impatient(constant: str) -> Iterator[SplitResult]:
    """A server with a constant of its own; gives its address."""
    script = f"import web.arrival, web.server; web.{constant}; import lookalike.cli; lookalike.cli.main()"
    command = [sys.executable, "-c", script, "serve", "--port", "0", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    yield urlsplit(json.loads(process.stdout.readline())["url"])
    process.terminate()
    process.communicate(timeout=30)


@pytest.mark.slow
def test_a_client_that_does_not_read_loses_its_thread(settings: Settings, bundle: Bundle, tmp_path: Path) -> None:
    make.photo("red", 1, (2400, 2400)).save(tmp_path / "large.bmp")
    (photo,) = fill_index(settings, bundle, tmp_path)
    with impatient("server.MAX_SILENCE = 1") as address:
        with socket.create_connection((address.hostname, address.port)) as client:
            client.sendall(b"GET /api/v1/images/%s/file HTTP/1.1\r\nHost: localhost\r\n\r\n" % str(photo.id).encode())
            read = len(client.recv(1))
            until(lambda: client.getsockname()[1] not in clients_of(worker()))
            with suppress(ConnectionResetError):
                while piece := client.recv(1 << 20):
                    read += len(piece)
        assert 0 < read < photo.path.stat().st_size
        with urlopen(f"{address.geturl()}/api/v1/images/{photo.id}/file") as answer:
            assert len(answer.read()) == photo.path.stat().st_size


@pytest.mark.slow
def test_requests_that_drip_end(indexed: Settings) -> None:
    """A byte now and then is no silence, and must not hold a thread for ever."""
    head = b"POST /api/v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with (
        impatient("arrival.MAX_REQUEST_SECONDS = 1") as server,
        connected(server) as of_a_head,
        connected(server) as of_a_body,
    ):
        of_a_body.sendall(head + b"Content-Length: 1000\r\n\r\n")
        drip(of_a_body, b" " * 1000)
        assert received(of_a_body, REFUSED) == REFUSED
        drip(of_a_head, b"GET / HTTP/1.1\r\nX-Long: " + b"a" * 1000)
        with suppress(ConnectionResetError):
            assert received(of_a_head, REFUSED) in (b"", REFUSED)


def drip(client: socket.socket, data: bytes) -> None:
    """Send a byte now and then until the server answers or hangs up."""
    for byte in data:
        with suppress(OSError):  # closed by now
            client.sendall(bytes([byte]))
        if select([client], [], [], 0.1)[0]:
            return
    raise AssertionError("it waits for ever")


def connected(address: SplitResult) -> socket.socket:
    return socket.create_connection((address.hostname, address.port), timeout=60)


def received(client: socket.socket, expected: bytes) -> bytes:
    """What the server sends first, as many bytes as are expected; fewer where it hangs up."""
    read = b""
    while len(read) < len(expected) and (piece := client.recv(len(expected) - len(read))):
        read += piece
    return read


def clients_of(process: psutil.Process) -> set[int]:
    """The ports of the clients that a process is connected with."""
    return {connection.raddr.port for connection in process.net_connections() if connection.raddr}


@pytest.mark.slow
def test_a_stopping_server_ends_streams_and_answers_what_it_began(indexed: Settings, bundle: Bundle) -> None:
    record = JobRecord(indexed.jobs_folder, IndexRequest(["photos"]), bundle.model_id)
    command = [*LOOKALIKE, "serve", "--port", "0", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    address = urlsplit(json.loads(process.stdout.readline())["url"]).netloc
    stream = http.client.HTTPConnection(address, timeout=30)
    stream.request("GET", f"/api/v1/jobs/{record.job.id}/events")
    events = stream.getresponse()
    assert events.readline().startswith(b"data: ")
    upload = http.client.HTTPConnection(address, timeout=30)
    upload.putrequest("POST", "/api/v1/search")
    upload.putheader("Content-Type", "application/json")
    upload.putheader("Content-Length", "2")
    upload.putheader("Expect", "100-continue")
    upload.endheaders(b"{")
    assert received(upload.sock, CONTINUE) == CONTINUE, "the request is begun"
    process.terminate()
    assert b"data: " not in events.read(), "the stream ends, and ends whole"
    upload.send(b"}")
    assert upload.getresponse().status == 422
    assert process.wait(timeout=20) == 0
    record.end("done")


@pytest.mark.slow
def test_an_upload_that_a_restart_cut_off_leaves_nothing(indexed: Settings, bundle: Bundle) -> None:
    with serving() as url:
        upload = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
        upload.putrequest("POST", "/api/v1/images")
        upload.putheader("Content-Type", "multipart/form-data; boundary=x")
        upload.putheader("Content-Length", "100000")
        upload.putheader("Authorization", f"Bearer {load_keys(indexed)[0].secret}")
        upload.putheader("Expect", "100-continue")
        upload.endheaders(b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n\xff\xd8')
        assert received(upload.sock, CONTINUE) == CONTINUE, "the request is begun"
        worker().kill()
        with pytest.raises((OSError, http.client.HTTPException)):
            upload.getresponse()
    assert not (indexed.home / "uploads").exists()
    with open_store(indexed).open(bundle.model_id, bundle.dimension) as index:
        assert index.count() == 24


@pytest.mark.slow
def test_only_names_of_this_machine_are_answered(served: Served, indexed: Settings) -> None:
    """A website can let its own name point to this machine."""
    for host in ("localhost", "LOCALHOST:80", "127.0.0.1", "[::1]:5000"):
        assert status_under(served.url, host) == 200, host
    for host in ("photos.example", "127.0.0.1.photos.example:80", "localhost.", "[", ""):
        assert status_under(served.url, host) == 400, host
    with serving("--host", "0.0.0.0") as url:
        assert status_under(url, "photos.example") == 200


def status_under(url: str, host: str) -> int:
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    connection.request("GET", "/api/v1/labels", headers={"Host": host})
    return connection.getresponse().status


@pytest.mark.slow
def test_log_lines_can_be_json(indexed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_LOG_FORMAT", "json")
    monkeypatch.setenv("LOOKALIKE_API_KEYS", "sesame")
    command = [*LOOKALIKE, "serve", "--port", "0", "--json"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stderr is not None
    said = json.loads(process.stdout.readline())
    url = said["url"]
    assert said["login_url"] == f"{url}/login", "a configured key is not printed"
    line_with("/login", process.stderr)
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    connection.request("GET", "/na%0Ame?secret=1", headers={"X-Request-ID": "mine-7", "Authorization": "Bearer sesame"})
    connection.getresponse().read()
    line = json.loads(process.stderr.readline())
    process.terminate()
    process.communicate(timeout=20)
    assert (line["method"], line["path"], line["status"]) == ("GET", "/na\\nme", 404) and line["ms"] > 0
    assert (line["request_id"], line["key"]) == ("mine-7", "admin")
