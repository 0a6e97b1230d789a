"""Anything at all at the doors: manifests, signatures, cascades, addresses, prompts of no sense.

`fuzz_manifest.py` beside this file does the first for as long as one lets it, guided by coverage.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomlkit
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from escalade.edge.artifact.manifest import parse_manifest, read_manifest
from escalade.edge.artifact.signing import check_signature, sign
from escalade.edge.cascade_file import read_cascade_file
from escalade.edge.errors import ArtifactError, CascadeError, PromptError, StoreError
from escalade.edge.generation.artifact import Artifact
from escalade.edge.store.sources import source_at

quickly = settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200
)

PLAIN = (
    st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 1, 2**31, 2**63, 2**64, 10**30, 10**400])
    | st.floats()
    | st.text()
    | st.sampled_from(["../x", "model.onnx", "\x00", "onnx", "int8", "mean"])
)


def nested(plain: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=12,
    )


# TOML has no null, and refuses half a surrogate pair.
TOML = nested(PLAIN)
JSON = nested(PLAIN | st.none() | st.just("\ud800"))
# Where a mutation strikes, what it takes away, what it puts there.
MUTATIONS = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.binary(max_size=20)), min_size=1, max_size=6
)


def mutated(content: bytes, mutations: list[tuple[float, int, bytes]]) -> bytes:
    for share, taken, put in mutations:
        at = int(share * len(content))
        content = content[:at] + put + content[at + taken :]
    return content


def replaced(content: Any, data: st.DataObject, value: object) -> Any:
    """The same with a value somewhere in it."""
    node = content
    while True:
        keys = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        key = data.draw(st.sampled_from(keys))
        if not isinstance(node[key], dict | list) or not node[key] or data.draw(st.booleans()):
            break
        node = node[key]
    node[key] = value
    return content


@pytest.fixture
def copy(float_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(float_artifact, tmp_path / "artifact"))


@quickly
@given(raw=st.binary())
@example(raw=b'{"schema":2}')
def test_any_bytes_are_a_manifest_or_an_artifact_error(raw: bytes) -> None:
    with pytest.raises(ArtifactError):
        parse_manifest(raw, "manifest")


@quickly
@given(mutations=MUTATIONS)
def test_a_mutated_manifest_is_read_or_an_artifact_error(
    copy: Path, float_artifact: Path, mutations: list[tuple[float, int, bytes]]
) -> None:
    raw = (float_artifact / "manifest.json").read_bytes()
    (copy / "manifest.json").write_bytes(mutated(raw, mutations))
    with contextlib.suppress(ArtifactError):
        read_manifest(copy)


@quickly
@given(data=st.data(), value=JSON)
def test_any_value_anywhere_in_a_manifest_is_taken_or_an_artifact_error(
    copy: Path, float_artifact: Path, data: st.DataObject, value: object
) -> None:
    content = replaced(json.loads((float_artifact / "manifest.json").read_bytes()), data, value)
    (copy / "manifest.json").write_text(json.dumps(content))
    with contextlib.suppress(ArtifactError):
        read_manifest(copy)


CASCADE = b"""
currency = "EUR"
[[tiers]]
name = "small"
members = ["a", { artifact = "b", prompt_price = 0.5, manifest_sha256 = "00" }]
side_by_side = true
gate = { rule = "vote", threshold = 0.5, early = "off" }
[[tiers]]
address = "[::1]:50051"
place = "gateway"
send = "text"
deadline_s = 2.5
ca_cert = "ca.pem"
plaintext = false
"""


def read_or_refused(path: Path) -> None:
    try:
        read_cascade_file(path)
    except CascadeError as error:
        assert str(error).startswith(f"{path}: ")  # noqa: PT017 - most are refused, not all
        assert len(str(error)) < len(str(path)) + 400  # noqa: PT017
        assert len(str(error).splitlines()) == 1  # noqa: PT017


@quickly
@given(mutations=MUTATIONS)
def test_a_mutated_cascade_is_read_or_a_cascade_error(
    tmp_path: Path, mutations: list[tuple[float, int, bytes]]
) -> None:
    path = tmp_path / "cascade.toml"
    path.write_bytes(mutated(CASCADE, mutations))
    read_or_refused(path)


@quickly
@given(data=st.data(), value=TOML)
def test_any_value_anywhere_in_a_cascade_is_taken_or_a_cascade_error(
    tmp_path: Path, data: st.DataObject, value: object
) -> None:
    content = replaced(tomllib.loads(CASCADE.decode()), data, value)
    path = tmp_path / "cascade.toml"
    path.write_bytes(tomlkit.dumps(content).encode())
    read_or_refused(path)


@pytest.fixture
def signed(copy: Path, tmp_path: Path) -> tuple[Path, Path, bytes]:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    (tmp_path / "pub.pem").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    sign(copy, tmp_path / "key.pem")
    return copy, tmp_path / "pub.pem", (copy / "model.sig").read_bytes()


@quickly
@given(mutations=MUTATIONS)
def test_a_mutated_signature_is_refused_and_silent(
    signed: tuple[Path, Path, bytes],
    mutations: list[tuple[float, int, bytes]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, public, raw = signed
    (folder / "model.sig").write_bytes(mutated(raw, mutations))
    with contextlib.suppress(ArtifactError):
        check_signature(folder, public)
        # What still passes says the same of the same manifest.
        assert (
            json.loads(mutated(raw, mutations))["dsseEnvelope"]["payload"]
            == (json.loads(raw)["dsseEnvelope"]["payload"])
        )
    assert capsys.readouterr() == ("", "")


@quickly
@given(rest=st.text(), scheme=st.sampled_from(["http", "https", "file", "ftp", "", "HTTP"]))
def test_any_address_is_a_source_or_a_store_error(rest: str, scheme: str) -> None:
    with contextlib.suppress(StoreError):
        str(source_at(f"{scheme}://{rest}"))


# The tokenizer's side.


@pytest.fixture(scope="module")
def opened(float_artifact: Path) -> Artifact:
    return Artifact.open(float_artifact)


@quickly
@given(
    prompt=st.text(st.characters(exclude_categories=()))
    | st.binary().map(lambda raw: raw.decode("utf-8", "surrogateescape"))
)
@example(prompt="")
@example(prompt="\ud800")
@example(prompt="\x00")
@example(prompt="g2p: " + "\u0301" * 200)
@example(prompt="<eos><sep><pad>")
def test_any_text_is_encoded_within_the_window_or_a_prompt_error(
    opened: Artifact, prompt: str
) -> None:
    with contextlib.suppress(PromptError):
        ids = opened.encode(prompt)
        model = opened.manifest.model
        assert 1 <= len(ids) < model.window
        assert all(0 <= token_id < model.vocabulary_size for token_id in ids)


@pytest.mark.parametrize("unit", ["a", "a ", "\u00e9", " ", "\U0001f600", "<eos>", "\x00"])
def test_a_prompt_of_a_million_tokens_is_refused_before_it_is_tokenized(
    opened: Artifact, unit: str
) -> None:
    began = time.process_time()
    with pytest.raises(PromptError):
        opened.encode("g2p: " + unit * 1_000_000)
    assert time.process_time() - began < 0.5  # tokenizing it takes more than a second
