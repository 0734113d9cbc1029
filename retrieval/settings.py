"""The settings that all packages share, read from `LOOKALIKE_*` variables and `.env`."""

import logging
import os
import re
from functools import cache
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AnyHttpUrl, Field, RedisDsn, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, DotEnvSettingsSource, EnvSettingsSource, NoDecode, SettingsConfigDict

from retrieval.cores import usable_cores
from retrieval.errors import LookalikeError
from retrieval.setting_names import PREFIX, unknown_names
from retrieval.source_policy import DEFAULT_DECODING_BYTES, DEFAULT_MAX_BYTES, DEFAULT_MAX_PIXELS, SourcePolicy

Device = Literal["auto", "cpu", "cuda", "openvino"]
Consistency = Annotated[int, Field(gt=0)] | Literal["majority", "quorum", "all"]
MOST_THREADS = 1024
DEFAULT_QDRANT_PREFIX = "lookalike"

log = logging.getLogger("lookalike")


class Settings(BaseSettings):
    """All settings; items of a list are separated by commas."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_file_encoding="utf-8-sig",  # with or without a byte order mark
        extra="ignore",
        env_ignore_empty=True,
        frozen=True,
    )

    home: Path = Field(Path(".lookalike"), description="the folder of models, index and job records")
    bundle: Path | None = Field(None, description="the model bundle to use instead of the current model's")
    qdrant_url: str | None = Field(
        None, description="a Qdrant server, or the nodes of a cluster; unset: the embedded index"
    )
    qdrant_prefix: str = Field(
        DEFAULT_QDRANT_PREFIX,
        pattern=r"^[A-Za-z0-9_-]{1,100}$",
        description="the prefix of the names of collections and aliases, different for each installation on a server",
    )
    qdrant_api_key: SecretStr | None = Field(None, description="the key of the Qdrant server")
    qdrant_ca: Path | None = Field(None, description="the certificate authority of the Qdrant server, a PEM file")
    qdrant_timeout_seconds: int = Field(30, gt=0, description="the timeout of a request to the Qdrant server")
    qdrant_shards: int | None = Field(None, gt=0, description="shards of a new collection; unset: the server's default")
    qdrant_replicas: int = Field(1, gt=0, description="replicas of each shard of a new collection")
    qdrant_hnsw_m: int = Field(24, ge=4, le=512, description="links per point in the graph of a collection")
    qdrant_hnsw_ef_construct: int = Field(200, ge=4, description="candidates for the links of a point")
    qdrant_write_consistency: int = Field(1, gt=0, description="replicas that must acknowledge a write")
    qdrant_read_consistency: Consistency | None = Field(
        None, description="replicas that a read compares: a number, majority, quorum or all; unset: it reads one"
    )
    qdrant_write_ordering: Literal["weak", "medium", "strong"] = Field(
        "weak", description="the order of concurrent writes: weak, medium or strong"
    )
    qdrant_on_disk: bool = Field(False, description="new collections keep only quantized vectors in memory")
    search_timeout_seconds: float = Field(
        5, gt=0, allow_inf_nan=False, description="the time limit of a search on the Qdrant server"
    )
    redis_url: str | None = Field(None, description="a Redis server; set: jobs run on Celery workers")
    redelivery_seconds: int = Field(
        300, ge=5, description="seconds after which the batch of a lost worker is delivered again"
    )
    keep_jobs: int = Field(1000, gt=0, description="number of job records to keep; older ones are deleted")
    max_removed_percent: float = Field(
        5, ge=0, le=100, description="the largest share of a source's photos that `--sync` removes, above 50 photos"
    )
    keep_removed_days: float = Field(
        30, ge=0, allow_inf_nan=False, description="days for which removed photos can be restored without embedding"
    )
    query_keep_minutes: float = Field(
        60, ge=0, allow_inf_nan=False, description="minutes for which uploaded query photos are kept; 0: not at all"
    )
    crosscheck_minutes: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="minutes between scheduled cross-checks; unset: none"
    )
    sync_sources: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="folders and manifests, paths or URLs, that the scheduled sync indexes"
    )
    sync_minutes: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="minutes between scheduled syncs of `sync_sources`; unset: none"
    )
    api_keys: Annotated[tuple[SecretStr, ...], NoDecode] = Field(
        (), description="API keys, each KEY or NAME:SCOPE:KEY; unset: `serve` creates one"
    )
    read_only: bool = Field(False, description="refuse all writes over HTTP")
    library_roots: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="folders and URLs below which photos may be shown; unset: all indexed photos"
    )
    hidden_columns: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="columns that only keys of the scope write see, in results and filters"
    )
    max_upload_mb: int = Field(20, gt=0, description="the largest accepted upload, in megabytes")
    max_file_mb: int = Field(
        DEFAULT_MAX_BYTES // 1_000_000, gt=0, description="the largest file of a photo that is read, in megabytes"
    )
    zip_photos: int = Field(10_000, gt=0, description="the most photos of a ZIP archive")
    zip_mb: int = Field(4000, gt=0, description="the largest size of the photos of a ZIP archive, in megabytes")
    max_pixels: int = Field(DEFAULT_MAX_PIXELS, gt=0, description="the largest accepted photo, in pixels")
    decoding_mb: int = Field(
        DEFAULT_DECODING_BYTES // 1_000_000, gt=0, description="memory of a process for decoding photos, in megabytes"
    )
    embedding_threads: int = Field(
        default_factory=usable_cores, gt=0, le=MOST_THREADS, description="threads that embed photos"
    )
    device: Device = Field(
        "auto", description="the device that computes embeddings; auto: an accelerator if available, otherwise the CPU"
    )
    log_format: Literal["text", "json"] = Field("text", description="the format of log lines")
    rate_limit: str | None = Field(
        None,
        pattern=r"^[1-9]\d* per (second|minute|hour|day)$",
        description="the most requests of one client, for example '600 per minute'; unset: unlimited",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="websites with pages that may call the API, for example https://example.org"
    )
    proxies: int = Field(0, ge=0, description="the number of trusted proxies in front of the server")
    reads_need_key: bool = Field(False, description="searching and viewing photos require an API key, too")

    @field_validator("api_keys", "library_roots", "cors_origins", "sync_sources", "hidden_columns", mode="before")
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("home", "bundle", "qdrant_ca")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value and Path(os.path.expanduser(value))  # noqa: PTH111 - never fails

    @field_validator("library_roots", "sync_sources")
    @classmethod
    def _expand_homes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(os.path.expanduser, value))

    @field_validator("qdrant_url", "redis_url")
    @classmethod
    def _check_url(cls, value: str | None, field: ValidationInfo) -> str | None:
        try:
            if value is not None and field.field_name == "redis_url":
                RedisDsn(value)
            for address in (value or "").split(",") if field.field_name == "qdrant_url" and value is not None else ():
                AnyHttpUrl(address.strip())
        except ValidationError as error:
            raise PydanticCustomError("url", error.errors()[0]["msg"]) from None
        return value

    @field_validator("cors_origins")
    @classmethod
    def _check_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            if not re.fullmatch(r"https?://[^/?#*\s]+", origin):
                raise PydanticCustomError("origin", "must be https://name or http://name:port, without a path")
        return value

    @field_validator("sync_minutes")
    @classmethod
    def _check_sync(cls, value: float | None, field: ValidationInfo) -> float | None:
        if value is not None and not field.data.get("sync_sources"):
            raise PydanticCustomError("sync", "requires sources in LOOKALIKE_SYNC_SOURCES")
        return value

    @field_validator("reads_need_key")
    @classmethod
    def _check_keys(cls, value: bool, field: ValidationInfo) -> bool:
        if value and not field.data.get("api_keys"):
            raise PydanticCustomError("keys", "requires keys in LOOKALIKE_API_KEYS")
        return value

    def source_policy(self, *, allow_urls: bool = False) -> SourcePolicy:
        """The limits of reading photos; `allow_urls` only for sources that the operator named."""
        return SourcePolicy(
            allow_urls,
            self.library_roots,
            max_bytes=self.max_file_mb * 1_000_000,
            max_pixels=self.max_pixels,
            decoding_bytes=self.decoding_mb * 1_000_000,
        )

    @property
    def qdrant_urls(self) -> tuple[str, ...]:
        """The addresses of the Qdrant server."""
        return tuple(address.strip() for address in (self.qdrant_url or "").split(",") if address.strip())

    @property
    def models_folder(self) -> Path:
        """The folder of the installed bundles, one subfolder per model."""
        return self.home / "models"

    @property
    def index_folder(self) -> Path:
        """The folder of the embedded indexes, one subfolder per model."""
        return self.home / "index"

    @property
    def jobs_folder(self) -> Path:
        """The folder of the job records."""
        return self.home / "jobs"


def load_settings() -> Settings:
    """Read the settings from the environment and `.env`.

    Raises `LookalikeError` if a value is invalid, a name is misspelt or `.env` can't be read; the message says what is
    expected.
    """
    try:
        _warn_of(tuple(unknown_settings()))
        return Settings()
    except ValidationError as error:
        problems = "; ".join(
            f"LOOKALIKE_{str(problem['loc'][0]).upper()} is {problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        )
        raise LookalikeError(f"Invalid setting: {problems}.", "Correct it in the environment or in .env.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LookalikeError(
            f"The settings in .env can't be read ({error}).", "Correct its permissions, and save it as UTF-8 text."
        ) from None


def unknown_settings() -> list[str]:
    """Return the `LOOKALIKE_*` variables that are ignored, since there is no such setting.

    Raises `LookalikeError` if a name resembles that of a setting.
    """
    variables = {**DotEnvSettingsSource(Settings).env_vars, **EnvSettingsSource(Settings).env_vars}
    return unknown_names(
        {name.upper(): value for name, value in variables.items()}, map(str.upper, Settings.model_fields)
    )


@cache
def _warn_of(names: tuple[str, ...]) -> None:
    """Warn of ignored variables, once in a process."""
    if names:
        log.warning("There is no setting %s: it is ignored.", ", ".join(names))
