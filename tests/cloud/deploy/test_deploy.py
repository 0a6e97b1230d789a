"""What containers are told is valid, and something that this version of the commands takes."""

from __future__ import annotations

import re
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from escalade.cli.main import app
from escalade.cloud.server import ServeOptions

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "cloud/deploy"
MANIFESTS = DEPLOY / "kubernetes"
TOOLS = Path(sysconfig.get_path("scripts"))


def documents() -> list[Any]:
    paths = [one for one in sorted(MANIFESTS.glob("*.yaml")) if one.name != "kustomization.yaml"]
    return [one for path in paths for one in yaml.safe_load_all(path.read_text())]


def of_kind(kind: str) -> Any:
    [found] = [one for one in documents() if one["kind"] == kind]
    return found


def container() -> Any:
    [found] = of_kind("Deployment")["spec"]["template"]["spec"]["containers"]
    return found


def dockerfile(word: str) -> list[str]:
    """What follows a word, line by line."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return re.findall(rf"^(?:HEALTHCHECK .*)?{word} (.*)$", text, re.MULTILINE)


def probes() -> list[list[str]]:
    found = [container()[name]["exec"]["command"] for name in container() if name.endswith("Probe")]
    return [*found, *(yaml.safe_load(one) for one in dockerfile("CMD") if "health" in one)]


@pytest.mark.parametrize("document", documents(), ids=lambda one: one["kind"])
def test_kubernetes_takes_every_manifest(document: Any) -> None:
    kubernetes_validate.validate(document, "1.37", strict=True)


def test_every_manifest_is_applied() -> None:
    listed = yaml.safe_load((MANIFESTS / "kustomization.yaml").read_text())["resources"]
    assert {*listed, "kustomization.yaml"} == {path.name for path in MANIFESTS.iterdir()}


def test_the_dockerfile_has_no_fault_that_hadolint_knows() -> None:
    found = subprocess.run(
        [TOOLS / "hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, "")


def test_the_compose_file_has_no_grave_fault() -> None:
    found = subprocess.run(
        [TOOLS / "compose-lint", "check", DEPLOY / "compose.yaml"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stdout


def test_the_image_is_made_of_what_is_there() -> None:
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    copied = [
        one for line in dockerfile("COPY") for one in line.split()[:-1] if "--from" not in line
    ]
    assert copied
    for name in copied:
        assert (ROOT / name).exists(), name
        assert f"!{name}" in ignored


def commands() -> list[list[str]]:
    [default] = [yaml.safe_load(one) for one in dockerfile("CMD") if "serve" in one]
    return [default, container()["args"], *(probe[1:] for probe in probes())]


@pytest.mark.parametrize("command", commands(), ids=" ".join)
def test_the_command_line_has_every_option_that_is_given(command: list[str]) -> None:
    told = CliRunner().invoke(app, [*command, "--help"])
    assert told.exit_code == 0, told.exception


def test_nobody_asks_without_a_token_or_in_the_clear() -> None:
    [default] = [yaml.safe_load(one) for one in dockerfile("CMD") if "serve" in one]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["cloud"]
    assert "command" not in compose  # it is the image's
    mounted = {
        "image": [one.split(":")[1] for one in compose["volumes"]],
        "pod": [one["mountPath"] for one in container()["volumeMounts"]],
    }
    for who, args in (("image", default), ("pod", container()["args"])):
        given = " ".join(args).replace("=", " ").split()
        for option in ("--tokens", "--tls-cert", "--tls-key"):
            path = Path(given[given.index(option) + 1])
            assert str(path.parent) in mounted[who], (who, option)


def test_the_page_says_how_each_secret_and_claim_is_made() -> None:
    page = (ROOT / "docs/cloud.md").read_text()
    volumes = of_kind("Deployment")["spec"]["template"]["spec"]["volumes"]
    needed = [one["secret"]["secretName"] for one in volumes if "secret" in one]
    needed += [
        one["persistentVolumeClaim"]["claimName"]
        for one in volumes
        if "persistentVolumeClaim" in one
    ]
    assert len(needed) >= 3
    for name in needed:
        assert f"`{name}`" in page


def test_a_drain_can_end_before_the_container_is_killed() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    args = container()["args"]
    [grace_s] = [float(one.split("=")[1]) for one in args if one.startswith("--grace-s=")]
    [_, pause_s] = container()["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] > grace_s + float(pause_s)
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["cloud"]
    assert float(compose["stop_grace_period"].rstrip("s")) > ServeOptions().grace_s


def test_a_probe_waits_longer_than_its_own_deadline() -> None:
    # The default of `escalade health` is 5 s; a probe that is killed says nothing.
    waits = [container()[name]["timeoutSeconds"] for name in container() if name.endswith("Probe")]
    assert len(waits) == 3
    assert min(waits) > 5
