"""Classifiers below a large model, as processes of their own: device, gateway, cloud."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from classifiers import LABELS, encoder_folder, labelled, linear_artifact

from escalade.cli.demo.processes import running
from escalade.edge import EdgeClient, Query
from escalade.edge.errors import EdgeError

ESCALADE = [sys.executable, "-m", "escalade.cli"]


def escalade(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*ESCALADE, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A linear artifact and a trained encoder as the command line exports it, in 8 bits."""
    folder = tmp_path_factory.mktemp("classifiers")
    linear_artifact(folder / "linear")
    encoder_folder(folder / "model", train=True)
    done = escalade("export", folder / "model", folder / "encoder", "--quantize", "int8")
    assert done.returncode == 0, done.stderr
    assert "golden prompts: 3 with the same label" in " ".join(done.stdout.split())
    return folder


@pytest.fixture(scope="module")
def cloud(tiny_model_dir: Path) -> Iterator[str]:
    with running("cloud", "serve", str(tiny_model_dir), "--listen", "127.0.0.1:0") as address:
        yield address


@pytest.fixture(scope="module")
def medians(folder: Path) -> tuple[float, float]:
    """Scores in the midst of both artifacts', so that each keeps some texts and sends others on."""
    texts = labelled(40, seed=11).texts
    found = []
    for name in ("linear", "encoder"):
        with EdgeClient.open(folder / name) as client:
            scores = sorted((float(client.ask(text).score or 0.0), text) for text in texts)
        texts = [text for _, text in scores[len(scores) // 2 :]]
        found.append(scores[len(scores) // 2][0])
    return found[0], found[1]


def cascade(folder: Path, name: str, address: str, linear: float, encoder: float) -> Path:
    path = folder / f"{name}.toml"
    path.write_text(
        f"""[[tiers]]
members = ["linear"]
gate = {{ rule = "mean", threshold = {linear} }}

[[tiers]]
members = ["encoder"]
gate = {{ rule = "mean", threshold = {encoder} }}

[[tiers]]
name = "large"
address = "{address}"
"""
    )
    return path


def test_a_query_climbs_from_n_grams_to_an_encoder_to_a_large_model(
    folder: Path, cloud: str, medians: tuple[float, float], tmp_path: Path
) -> None:
    path = cascade(folder, "three", cloud, *medians)
    trace = tmp_path / "trace.jsonl"
    with EdgeClient.open(path, trace=trace) as client:
        answers = [client.ask(Query(text=text)) for text in labelled(40, seed=11).texts]
    assert {answer.tier for answer in answers} == {"linear", "encoder", "large"}
    for answer in answers:
        below = [one for one in answer.tiers[:2] if one is not None]
        assert all(one.text in LABELS for one in below)
        assert all(one.score == -one.members[0].logprobs[0] for one in below)
        assert all(set(one.members[0].classes) == set(LABELS) for one in below)
    done = escalade("simulate", trace, "--out", tmp_path / "report.html", "--json")
    assert done.returncode == 0, done.stderr


def test_ask_prints_the_label_or_what_the_large_model_says(folder: Path, cloud: str) -> None:
    text = "he lost his house and cried"
    kept = escalade("ask", cascade(folder, "kept", cloud, 9.0, 9.0), text, "--json")
    assert json.loads(kept.stdout)["answer"] == "deep sadness"
    sent = escalade("ask", cascade(folder, "sent", cloud, -1.0, -1.0), text, "--json")
    said = json.loads(sent.stdout)
    assert (sent.returncode, said["answered_by"], said["place"]) == (0, "large", "cloud")
    assert [tier["said"]["text"] for tier in said["tiers"][:2]] == ["deep sadness"] * 2


def test_a_gateway_of_classifiers_takes_text_and_gives_labels_with_their_scores(
    folder: Path, cloud: str, medians: tuple[float, float]
) -> None:
    path = cascade(folder, "gateway", cloud, *medians)
    with running("gateway", "gateway", str(path), "--listen", "127.0.0.1:0") as address:
        device = folder / "device.toml"
        device.write_text(
            f"""[[tiers]]
members = ["linear"]
gate = {{ rule = "mean", threshold = -1.0 }}

[[tiers]]
name = "building"
address = "{address}"
place = "gateway"
gate = {{ rule = "mean", threshold = 100.0 }}

[[tiers]]
name = "large"
address = "{cloud}"
"""
        )
        texts = labelled(40, seed=11).texts
        with EdgeClient.open(device) as client, EdgeClient.open(path) as alone:
            answers = [client.ask(text) for text in texts]
            here = [alone.ask(text) for text in texts]
            with pytest.raises(EdgeError, match="classifier, which reads text"):
                client.ask(Query(ids=(1, 2), tokenizer_fingerprint="x"))
    assert {answer.tier for answer in here} == {"linear", "encoder", "large"}
    assert [answer.text for answer in answers] == [answer.text for answer in here]
    for answer, own in zip(answers, here, strict=True):
        if own.tier != "large":
            assert answer.tiers[1] is not None
            assert answer.tiers[1].score == pytest.approx(own.score, abs=1e-6)
            assert answer.tiers[1].text in LABELS
