"""The members of a cascade: one bound of memory for all, and whose signature each must have."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from escalade.edge import OpenOptions
from escalade.edge.artifact import (
    file_entry,
    load_manifest,
    memory_needed,
    memory_of_all,
    sign,
    write_manifest,
)
from escalade.edge.errors import ArtifactError, CascadeError, SignatureError
from escalade.edge.generation import Artifact
from escalade.edge.opening import open_cascade

VOTE = '[[tiers]]\nmembers = ["a", "b"]\n'
TWO = VOTE + 'gate = { threshold = 0.5 }\n[[tiers]]\nmembers = ["c"]\n'

Write = Callable[[str], Path]


@pytest.fixture
def write(float_artifact: Path, tmp_path: Path) -> Write:
    """A cascade's file beside three artifacts."""
    for name in "abc":
        shutil.copytree(float_artifact, tmp_path / name)
        manifest = load_manifest(tmp_path / name)
        model = msgspec.structs.replace(manifest.model, revision=name)
        write_manifest(tmp_path / name, msgspec.structs.replace(manifest, model=model))

    def write(text: str) -> Path:
        (tmp_path / "cascade.toml").write_text(text)
        return tmp_path / "cascade.toml"

    return write


def tokenizers_of(path: Path) -> list[int]:
    """Of a cascade's members in order, which tokenizer each has."""
    cascade = open_cascade(path, OpenOptions())
    found = [id(one.artifact._tokenizer) for tier in cascade.tiers for one in tier.opened]
    cascade.close()
    return found


def test_members_of_one_tokenizer_share_it(write: Write) -> None:
    assert len(set(tokenizers_of(write(TWO)))) == 1


def test_another_tokenizer_is_not_shared(write: Write) -> None:
    path = write(TWO)
    folder = path.parent / "b"
    own = folder / "tokenizer.json"
    own.write_text(own.read_text() + "\n")  # by content: what it does is not compared
    manifest = load_manifest(folder)
    files = {**manifest.files, own.name: file_entry(own)}
    write_manifest(folder, msgspec.structs.replace(manifest, files=files))
    first, second, third = tokenizers_of(path)
    assert first == third != second


def total(folder: Path) -> int:
    return memory_needed(folder, load_manifest(folder)).total


@pytest.mark.parametrize(("text", "names"), [(VOTE, "ab"), (TWO, "abc")])
def test_members_are_judged_together_before_one_is_opened(
    write: Write, text: str, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(text)
    needed = memory_of_all(total(path.parent / name) for name in names)
    assert needed > total(path.parent / "a")
    open_cascade(path, OpenOptions(max_memory=needed)).close()
    monkeypatch.setattr(Artifact, "open", None)
    with pytest.raises(CascadeError, match=rf"needs {needed} bytes of memory for {len(names)} "):
        open_cascade(path, OpenOptions(max_memory=needed - 1))


def test_a_member_that_grew_after_it_was_judged_takes_no_more_than_is_left(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(VOTE)
    needed = memory_of_all(total(path.parent / name) for name in "ab")
    open_artifact = Artifact.open

    def grown(folder: Path, *, max_memory: int | None, **options: object) -> Artifact:
        if folder.name == "b":
            spaced(folder)
        return open_artifact(folder, max_memory=max_memory)

    monkeypatch.setattr(Artifact, "open", grown)
    with pytest.raises(ArtifactError, match=r"b: needs \d+ bytes .* may take at most \d+$"):
        open_cascade(path, OpenOptions(max_memory=needed))


def spaced(folder: Path) -> None:
    """The same tokenizer in a longer file."""
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b" " * 10_000)
    manifest = load_manifest(folder)
    manifest.files["tokenizer.json"] = file_entry(path)
    write_manifest(folder, manifest)


@pytest.mark.parametrize("name", ["tokenizer.json", "manifest.json", "cascade.toml"])
def test_nothing_is_parsed_that_takes_more_than_may_be_taken(
    write: Write, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(VOTE)
    most = total(path.parent / "a")

    def parsed(*arguments: object, **options: object) -> None:
        raise AssertionError("parsed")

    if name == "tokenizer.json":
        long = path.parent / "a" / name
        long.write_bytes(b'{"x":[' + b"[]," * 500_000 + b"0]}")
        manifest = load_manifest(path.parent / "a")
        manifest.files[name] = file_entry(long)
        write_manifest(path.parent / "a", manifest)
        monkeypatch.setattr("escalade.edge.artifact.manifest.reading.tokenizer_fingerprint", parsed)
    elif name == "manifest.json":
        long = path.parent / "a" / name
        long.write_bytes(long.read_bytes() + b" " * 1_000_000)
        monkeypatch.setattr("escalade.edge.artifact.manifest.reading.parse_manifest", parsed)
    else:
        path.write_text(VOTE + "#" * 1_000_000)
        monkeypatch.setattr("tomllib.loads", parsed)
    says = r"needs \d+ bytes of memory .* may take at most"
    with pytest.raises((ArtifactError, CascadeError), match=says):
        open_cascade(path, OpenOptions(max_memory=most))
    if name != "cascade.toml":
        with pytest.raises(ArtifactError, match=says):
            open_cascade(path.parent / "a", OpenOptions(max_memory=most))


@pytest.mark.parametrize(
    "text",
    ["a." * 15_000 + "b = 0", '"a".' * 9 + "b = 0", "[" + "a . " * 9 + "b]", "x = {" + "'a'." * 9],
)
def test_a_file_that_nests_deep_is_refused_before_it_is_parsed(
    write: Write, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tomllib.loads", None)
    with pytest.raises(CascadeError, match="a key nests deeper than 8"):
        open_cascade(write(text), OpenOptions())


@pytest.mark.parametrize("unit", ["a", '"', "'", ".", " ", "a ", '"a', "a.", "-"])
def test_looking_for_deep_keys_takes_no_time(write: Write, unit: str) -> None:
    with pytest.raises(CascadeError):  # of a megabyte: it would take hours with its square
        open_cascade(write(unit * (1_000_000 // len(unit))), OpenOptions(max_memory=1000))


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    """A folder of two pairs of keys; the owner has signed a and b, the other c."""
    folder = tmp_path / "keys"
    folder.mkdir()
    for name in ("owner", "other"):
        key = ec.generate_private_key(ec.SECP256R1())
        encoding, plain = serialization.Encoding.PEM, serialization.NoEncryption()
        (folder / name).write_bytes(
            key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain)
        )
        public = serialization.PublicFormat.SubjectPublicKeyInfo
        (folder / f"{name}.pub").write_bytes(key.public_key().public_bytes(encoding, public))
    return folder


def test_each_member_must_be_signed_by_its_key(write: Write, keys: Path) -> None:
    path = write(TWO)
    for name, owner in (("a", "owner"), ("b", "owner"), ("c", "other")):
        sign(path.parent / name, keys / owner)
    owner, other = keys / "owner.pub", keys / "other.pub"
    with pytest.raises(SignatureError, match=r"c/model\.sig: .* by .*owner\.pub"):
        open_cascade(path, OpenOptions(trusted_key=owner))

    named = 'trusted_key = "keys/owner.pub"\n'
    with pytest.raises(SignatureError, match=r"c/model\.sig: .* by .*owner\.pub"):
        open_cascade(write(named + TWO), OpenOptions())
    c = '{ artifact = "c", trusted_key = "keys/other.pub" }'
    path = write(named + TWO.replace('"c"', c))
    open_cascade(path, OpenOptions()).close()
    # With a bound of memory each is looked at twice; what checks signatures is counted once.
    needed = memory_of_all((total(path.parent / name) for name in "abc"), signed=True)
    open_cascade(path, OpenOptions(max_memory=needed)).close()
    with pytest.raises(CascadeError, match=re.escape(str(needed))):
        open_cascade(path, OpenOptions(max_memory=needed - 1))

    # Whoever asks is not overruled by the file.
    with pytest.raises(SignatureError, match=r"a/model\.sig: .* by .*other\.pub"):
        open_cascade(path, OpenOptions(trusted_key=other))
