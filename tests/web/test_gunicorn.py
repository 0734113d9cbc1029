"""What `web.server` uses of gunicorn's insides; if a test fails, read what gunicorn changed before raising the pin."""

import inspect
import re
import socket
import tomllib
from importlib.metadata import version

import pytest
from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.http.errors import LimitRequestHeaders, LimitRequestLine, ParseException, UnsupportedTransferCoding
from gunicorn.workers.gthread import TConn, ThreadWorker
from serving import ROOT

SIGNATURES = {
    "handle": ["self", "conn"],
    "handle_error": ["self", "req", "client", "addr", "exc"],
    "handle_exit": ["self", "sig", "frame"],
    "handle_quit": ["self", "sig", "frame"],
    "murder_pending": ["self"],
}


def test_the_next_major_version_is_excluded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (pin,) = (requirement for requirement in project["dependencies"] if requirement.startswith("gunicorn"))
    bound = re.search(r"<(\d+)", pin)
    assert bound and int(bound[1]) == int(version("gunicorn").split(".")[0]) + 1


@pytest.mark.parametrize("method", SIGNATURES)
def test_the_worker_has_the_methods_that_are_overridden(method: str) -> None:
    assert list(inspect.signature(getattr(ThreadWorker, method)).parameters) == SIGNATURES[method]


def test_the_worker_calls_them() -> None:
    assert "handle" in ThreadWorker.enqueue_req.__code__.co_names, "for each request"
    assert "handle_error" in ThreadWorker.handle.__code__.co_names, "if it can't be parsed"
    assert "murder_pending" in ThreadWorker.run.__code__.co_names, "each second"
    assert issubclass(LimitRequestLine, ParseException) and issubclass(LimitRequestHeaders, ParseException)
    assert issubclass(UnsupportedTransferCoding, ParseException)


def test_a_connection_names_its_socket_and_can_be_a_key() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = TConn(Config(), ours, ("127.0.0.1", 1), ("127.0.0.1", 2))
        assert connection.sock is ours and {connection: 1}[connection] == 1


def test_an_application_is_loaded_and_configured_by_these_methods() -> None:
    assert {"load", "load_config", "run"} <= set(vars(BaseApplication))
    known = Config().settings
    assert {"post_worker_init", "worker_exit", "control_socket_disable", "logconfig_dict", "sendfile"} <= set(known)
