"""docker-compose.yml and the images it builds refer to things that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]


def dockerfile(service: str) -> list[list[str]]:
    """Instructions as lists of words, continuation lines joined."""
    build = SERVICES[service]["build"]
    text = (ROOT / build["context"] / build["dockerfile"]).read_text().replace("\\\n", " ")
    return [shlex.split(line, comments=True) for line in text.splitlines() if line.strip() and line[0] != "#"]


def command(service: str) -> list[str]:
    """What the container runs: of the compose file, else of the image."""
    if "command" in SERVICES[service]:
        return shlex.split(SERVICES[service]["command"])
    last = [words for words in dockerfile(service) if words[0] == "CMD"][-1]
    return [word.strip("[],") for word in last[1:]]


def flags(words: list[str]) -> set[str]:
    return {word for word in words if word.startswith("--")}


def test_the_services_are_the_two_programs() -> None:
    assert set(SERVICES) == {"control-plane", "worker"}
    volumes = {mount.split(":")[0] for service in SERVICES.values() for mount in service["volumes"]}
    assert volumes == set(COMPOSE["volumes"])
    assert set(SERVICES["worker"]["depends_on"]) == {"control-plane"}
    assert "healthcheck" in SERVICES["control-plane"]


@pytest.mark.parametrize("service", sorted(SERVICES))
def test_images_copy_what_exists_and_own_the_data_folder(service: str) -> None:
    instructions = dockerfile(service)
    for words in instructions:
        if words[0] == "COPY":
            missing = [source for source in words[1:-1] if not (ROOT / source).exists()]
            assert not missing, words
    # A fresh named volume takes its owner from the image; without this it belongs to root and cannot be written.
    user = next(words[1] for words in instructions if words[0] == "USER")
    assert user != "root"
    runs = " ".join(" ".join(words) for words in instructions if words[0] == "RUN")
    assert re.search(rf"mkdir /data && chown {user} /data", runs)
    assert SERVICES[service]["volumes"] == ["data:/data"]


def test_the_control_plane_is_started_with_flags_that_it_has() -> None:
    words = command("control-plane")
    assert words[:2] == ["bin/star", "up"]
    shown = subprocess.run([ROOT / "bin/star", "up", "--help"], capture_output=True, text=True, check=True).stdout
    assert flags(words) == {"--no-worker", "--data-dir"}
    assert all(flag in shown for flag in flags(words))


def test_the_worker_is_started_with_flags_that_it_has_and_dials_the_default_port() -> None:
    words = command("worker")
    assert words[0] == "star-worker"
    module = [sys.executable, "-m", "star_worker"]
    shown = subprocess.run([*module, "--help"], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert all(flag in shown for flag in flags(words))
    defaults = (ROOT / "server-ts/src/config/server-settings.ts").read_text()
    port = re.search(r"STAR_GRPC_PORT: port.default\(([\d_]+)\)", defaults)
    assert port is not None
    assert words[words.index("--server") + 1] == f"127.0.0.1:{int(port[1])}"
    assert words[words.index("--data-dir") + 1].startswith("/data/")


def test_the_health_check_asks_an_address_that_is_served() -> None:
    url = re.search(r"127\.0\.0\.1:(\d+)(/\w+)", " ".join(SERVICES["control-plane"]["healthcheck"]["test"]))
    assert url is not None
    assert f"'{url[2]}'" in (ROOT / "server-ts/src/rest/app.ts").read_text()
    assert f"STAR_HTTP_PORT: port.default({url[1]})" in (ROOT / "server-ts/src/config/server-settings.ts").read_text()
