"""Settings come from the environment and `.env`; a wrong one is named."""

import re
from pathlib import Path

import pytest

from retrieval.errors import LookalikeError
from retrieval.settings import load_settings


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
    [("MAX_UPLOAD_MB", "much"), ("MAX_PIXELS", "-1"), ("LOG_FORMAT", "xml"), ("READ_ONLY", "perhaps")],
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
