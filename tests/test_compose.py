"""docker-compose.yml and what belongs to it: complete, pinned, unprivileged, and in the words of the settings."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from retrieval.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SETTINGS = {f"LOOKALIKE_{name.upper()}" for name in Settings.model_fields}
OF_COMPOSE_ALONE = {"LOOKALIKE_LIBRARY", "LOOKALIKE_PORT", "LOOKALIKE_ADDRESS"}
WITHOUT_CONTAINERS = {
    f"LOOKALIKE_{name}"
    for name in ["HOME", "BUNDLE", "DEVICE", "LIBRARY_ROOTS", "REDIS_URL", "QDRANT_URL", "QDRANT_CA", "LOG_FORMAT"]
}
REQUIRED = {"LOOKALIKE_LIBRARY": "/srv/photos", "LOOKALIKE_QDRANT_API_KEY": "b"}


def test_there_are_five_services() -> None:
    assert set(SERVICES) == {"redis", "qdrant", "worker", "beat", "web"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_watched_bounded_and_without_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["healthcheck"]["test"]
    assert service["restart"] == "unless-stopped"
    assert service["mem_limit"]
    assert re.fullmatch(r"\$\{[A-Z]+_CPUS:-0\}", service["cpus"]), "a fixed number fails on a smaller machine"
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.get("privileged")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_is_pinned(name: str) -> None:
    assert re.fullmatch(r"[a-z/]+:v?\d+\.\d+\.\d+[-a-z]*", SERVICES[name]["image"])


def test_the_image_is_pinned_and_ends_as_no_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    bases = [line.split()[1] for line in lines if line.startswith("FROM")]
    assert all(re.fullmatch(r"python:\d+\.\d+\.\d+-slim-bookworm", base) for base in bases)
    assert [line for line in lines if line.startswith("USER")] == ["USER lookalike"]


def test_the_image_installs_with_hashes() -> None:
    lines = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes --requirement serving.lock" in lines
    packages = re.findall(r"^([a-z0-9.-]+==\S+)", (ROOT / "serving.lock").read_text(), flags=re.MULTILINE)
    locked = set(re.findall(r"^([a-z0-9.-]+==\S+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE))
    assert packages and set(packages) <= locked, "the versions that are tested"
    assert not any(package.startswith("tensorflow") for package in packages)


def test_compose_1_reads_the_file() -> None:
    """Debian 12 has docker-compose 1.29, which refuses the name of a project."""
    assert set(COMPOSE) <= {"services", "volumes"} | {key for key in COMPOSE if key.startswith("x-")}


def test_what_the_image_copies_is_sent_to_its_builder() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--)(.*) \S+$", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    assert {name for line in copied for name in line.split()} == sent
    assert all((ROOT / name).exists() for name in sent)


def test_the_example_and_the_services_name_settings_that_there_are() -> None:
    example = set(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert {name for name in example if name.startswith("LOOKALIKE_")} == SETTINGS | OF_COMPOSE_ALONE
    wanted = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    assert wanted == example - {"COMPOSE_PROJECT_NAME"} - WITHOUT_CONTAINERS
    given = {name for service in SERVICES.values() for name in service.get("environment", {})}
    assert {name for name in given if name.startswith("LOOKALIKE_")} <= SETTINGS


def test_the_documentation_lists_each_setting_with_its_default() -> None:
    text = (ROOT / "docs/operations.md").read_text(encoding="utf-8")
    _, _, section = text.partition("\n## Settings\n")
    documented = dict(re.findall(r"^\| `(LOOKALIKE_\w+)` \| (.*?) \|", section, flags=re.MULTILINE))
    assert set(documented) == SETTINGS
    for name, field in Settings.model_fields.items():
        default = documented[f"LOOKALIKE_{name.upper()}"].strip("`")
        if field.default in (None, ()) or field.default_factory is not None:
            assert default in ("–", "that of the server", "usable cores"), name
        else:
            assert default == str(field.default).replace("False", "false"), name


def test_the_client_and_the_server_of_qdrant_belong_together() -> None:
    locked = re.search(r"^qdrant-client==(\d+)\.(\d+)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)
    served = re.search(r":v(\d+)\.(\d+)", SERVICES["qdrant"]["image"])
    assert locked.group(1) == served.group(1)
    assert abs(int(locked.group(2)) - int(served.group(2))) <= 1


def test_compose_itself_understands_it() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode:
        pytest.skip("there is no docker compose here")
    command = [docker, "compose", "--file", ROOT / "docker-compose.yml", "config", "--quiet"]
    checked = subprocess.run(command, env=os.environ | REQUIRED, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
