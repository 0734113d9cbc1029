"""Settings come from the environment and `.env`; a wrong one is named."""

import re
from pathlib import Path

import pytest

from retrieval.errors import LookalikeError
from retrieval.settings import load_settings, unknown_settings


def test_there_are_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = load_settings()
    assert settings.home == Path(".lookalike")
    assert (settings.max_upload_mb, settings.max_pixels, settings.log_format) == (20, 64_000_000, "text")
    assert settings.model_copy(update={"max_file_mb": 3}).source_policy().max_bytes == 3_000_000
    assert settings.embedding_threads >= 1
    assert settings.api_keys == settings.library_roots == ()


def test_a_copy_with_another_home_has_other_folders(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.models_folder == settings.home / "models"
    copied = settings.model_copy(update={"home": tmp_path})
    assert copied.models_folder == tmp_path / "models"
    assert copied.index_folder == tmp_path / "index"
    assert copied.jobs_folder == tmp_path / "jobs"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOOKALIKE_LIBRARY_ROOTS", "/photos, /more photos, s3://shop/photos")
    monkeypatch.setenv("LOOKALIKE_API_KEYS", "sesame,simsim")
    settings = load_settings()
    assert settings.library_roots == ("/photos", "/more photos", "s3://shop/photos")
    assert [key.get_secret_value() for key in settings.api_keys] == ["sesame", "simsim"]
    assert "sesame" not in repr(settings)


def test_the_env_file_is_read_and_the_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("LOOKALIKE_MAX_UPLOAD_MB=5\nLOOKALIKE_LOG_FORMAT=json\nOTHER=1\n")
    monkeypatch.setenv("LOOKALIKE_LOG_FORMAT", "text")
    assert (load_settings().max_upload_mb, load_settings().log_format) == (5, "text")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_UPLOAD_MB", "much"),
        ("MAX_PIXELS", "-1"),
        ("LOG_FORMAT", "xml"),
        ("READ_ONLY", "perhaps"),
        ("EMBEDDING_THREADS", "100000"),
        ("QUERY_KEEP_MINUTES", "inf"),
        ("CROSSCHECK_MINUTES", "nan"),
    ],
)
def test_a_wrong_value_is_named_with_what_was_expected(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    with pytest.raises(LookalikeError, match=rf"LOOKALIKE_{name} is '{value}': Input should be"):
        load_settings()


@pytest.mark.parametrize("name", ["QDRANT_URL", "REDIS_URL"])
@pytest.mark.parametrize("value", ["foo bar", "http://127.0.0.1:99999", "http://[", "ftp://x", "localhost:6333"])
def test_a_url_that_is_none_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    with pytest.raises(LookalikeError, match=rf"LOOKALIKE_{name} is '{re.escape(value)}': (Input|URL)"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QDRANT_URL", "http://127.0.0.1:6333"),
        ("QDRANT_URL", "https://cluster.example.org:6333/prefix"),
        ("REDIS_URL", "redis://127.0.0.1:6379/0"),
        ("REDIS_URL", "rediss://user:pass%40@redis.example.org/1?ssl_cert_reqs=required"),
    ],
)
def test_a_url_stays_as_it_was_given(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    assert getattr(load_settings(), name.lower()) == value


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("READONLY", "READ_ONLY"),
        ("API_KEY", "API_KEYS"),
        ("READS_NEED_KEYS", "READS_NEED_KEY"),
        ("READ_NEEDS_KEY", "READS_NEED_KEY"),
        ("QDRANTURL", "QDRANT_URL"),
        ("REDIS_URI", "REDIS_URL"),
        ("EMBEDINGTHREADS", "EMBEDDING_THREADS"),
    ],
)
@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_misspelt_name_is_an_error(
    name: str, meant: str, place: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    if place == "file":
        (tmp_path / ".env").write_text(f"LOOKALIKE_{name}=1\n")
    else:
        monkeypatch.setenv(f"LOOKALIKE_{name}", "1")
    with pytest.raises(LookalikeError, match=rf"no setting LOOKALIKE_{name}; did you mean LOOKALIKE_{meant}\? Correct"):
        load_settings()


def test_other_unknown_names_are_warned_of_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("LOOKALIKE_FAVOURITE_COLOUR=red\n")
    monkeypatch.setenv("LOOKALIKE_WORKSHOPS", "3")
    load_settings()
    load_settings()
    (message,) = caplog.messages
    assert message == "There is no setting LOOKALIKE_FAVOURITE_COLOUR, LOOKALIKE_WORKSHOPS: it is ignored."


def test_the_names_of_docker_compose_and_kubernetes_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "LIBRARY": "/srv/photos",
        "ADDRESS": "127.0.0.1",
        "PORT": "tcp://10.0.0.1:5000",
        "PORT_5000_TCP": "tcp://10.0.0.1:5000",
        "PORT_5000_TCP_ADDR": "10.0.0.1",
        "SERVICE_HOST": "10.0.0.1",
        "SERVICE_PORT": "5000",
        "SERVICE_PORT_HTTP": "5000",
        "WEB_SERVICE_HOST": "10.0.0.2",
        "QDRANT_PORT": "tcp://10.0.0.3:6333",
        "QDRANT_PORT_6333_TCP_PROTO": "tcp",
        "TEST_QDRANT_URL": "http://127.0.0.1:6333",
    }
    for name, value in given.items():
        monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    assert unknown_settings() == []
    monkeypatch.setenv("LOOKALIKE_GATEWAY_PORT", "6333")
    assert unknown_settings() == ["LOOKALIKE_GATEWAY_PORT"]


def test_a_byte_order_mark_and_the_home_of_the_user_are_understood(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("LOOKALIKE_HOME", raising=False)
    text = "LOOKALIKE_HOME=~/photos/index\nLOOKALIKE_LIBRARY_ROOTS=~/photos,s3://shop/~x\nLOOKALIKE_BUNDLE=~/model\n"
    (tmp_path / ".env").write_text(text, encoding="utf-8-sig")
    settings = load_settings()
    assert settings.home == Path("/home/ada/photos/index") and settings.bundle == Path("/home/ada/model")
    assert settings.library_roots == ("/home/ada/photos", "s3://shop/~x")


def test_an_env_file_that_is_no_text_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(b"LOOKALIKE_HOME=caf\xe9\n")
    with pytest.raises(LookalikeError, match=r"\.env can't be read .* save it as UTF-8"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("RATE_LIMIT", "many", "should match pattern"),
        ("CORS_ORIGINS", "https://a.example,*", "must be https://name"),
        ("CORS_ORIGINS", "https://a.example/path", "must be https://name"),
        ("READS_NEED_KEY", "true", "requires keys"),
    ],
)
def test_a_server_setting_that_makes_no_sense_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, says: str
) -> None:
    monkeypatch.setenv(f"LOOKALIKE_{name}", value)
    with pytest.raises(LookalikeError, match=f"LOOKALIKE_{name} .*{says}"):
        load_settings()
