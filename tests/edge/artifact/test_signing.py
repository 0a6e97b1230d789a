"""Signatures: who signed the manifest, and that nothing passes for signed which is not."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from authority import signing_keys
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from escalade.edge.artifact.manifest import read_manifest
from escalade.edge.artifact.signing import check_signature, is_signed, sign, signature_state
from escalade.edge.errors import ArtifactError, SignatureError
from escalade.edge.generation.artifact import Artifact


def write_keys(folder: Path, name: str, curve: ec.EllipticCurve | None = None) -> tuple[Path, Path]:
    """A pair of PEM files, private and public."""
    private = ec.generate_private_key(curve or ec.SECP256R1())
    paths = folder / f"{name}.pem", folder / f"{name}.pub.pem"
    paths[0].write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
    )
    paths[1].write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return paths


@pytest.fixture
def copy(float_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(float_artifact, tmp_path / "artifact"))


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return write_keys(tmp_path, "owner")


def refused(folder: Path, public: Path) -> str:
    with pytest.raises(SignatureError) as caught:
        check_signature(folder, public)
    return str(caught.value)


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()])
def test_a_signed_artifact_is_the_owners(
    copy: Path, tmp_path: Path, curve: ec.EllipticCurve, capsys: pytest.CaptureFixture[str]
) -> None:
    private, public = write_keys(tmp_path, "owner", curve)
    assert not is_signed(copy)
    sign(copy, private)
    assert is_signed(copy)
    check_signature(copy, public)
    Artifact.open(copy, trusted_key=public)
    assert capsys.readouterr() == ("", "")


def test_a_signature_moves_with_its_folder_and_can_be_made_again(
    copy: Path, keys: tuple[Path, Path]
) -> None:
    sign(copy, keys[0])
    sign(copy, keys[0])
    moved = copy.rename(copy.parent / "under another name")
    check_signature(moved, keys[1])


def test_what_is_not_signed_is_refused_where_a_key_is_trusted(
    copy: Path, keys: tuple[Path, Path]
) -> None:
    assert refused(copy, keys[1]).endswith("artifact: not signed: model.sig is missing")
    with pytest.raises(SignatureError, match="not signed"):
        Artifact.open(copy, trusted_key=keys[1])


def test_another_keys_signature_is_refused(
    copy: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    other = write_keys(tmp_path, "other")
    sign(copy, other[0])
    assert "Key mismatch" in refused(copy, keys[1])


def test_another_keys_signature_under_the_owners_name_is_refused(
    copy: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    path = copy / "model.sig"
    sign(copy, keys[0])
    owner = json.loads(path.read_bytes())["verificationMaterial"]
    other = write_keys(tmp_path, "other")
    sign(copy, other[0])
    forged = json.loads(path.read_bytes()) | {"verificationMaterial": owner}
    path.write_text(json.dumps(forged))
    assert "does not verify" in refused(copy, keys[1])


def test_a_manifest_changed_after_signing_is_refused(copy: Path, keys: tuple[Path, Path]) -> None:
    sign(copy, keys[0])
    path = copy / "manifest.json"
    path.write_bytes(path.read_bytes() + b"\n")
    read_manifest(copy)
    assert "Signature mismatch" in refused(copy, keys[1])


def test_the_owners_signature_of_another_artifact_is_refused(
    copy: Path, int8_artifact: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(int8_artifact, tmp_path / "other"))
    sign(other, keys[0])
    shutil.copyfile(other / "model.sig", copy / "model.sig")
    assert "Signature mismatch" in refused(copy, keys[1])


def test_a_file_swapped_under_a_valid_signature_is_refused(
    copy: Path, keys: tuple[Path, Path]
) -> None:
    sign(copy, keys[0])
    weights = copy / "model.onnx.data"
    weights.write_bytes(bytes(reversed(weights.read_bytes())))
    check_signature(copy, keys[1])  # signs the manifest, which then refuses the file
    with pytest.raises(ArtifactError, match=r"model\.onnx\.data: altered"):
        Artifact.open(copy, trusted_key=keys[1])


def test_what_is_damaged_is_not_signed(copy: Path, keys: tuple[Path, Path]) -> None:
    (copy / "tokenizer.json").write_bytes(b"{}")
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: 2 bytes"):
        sign(copy, keys[0])
    assert not is_signed(copy)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff",
        b"[" * 60_000,
        b'{"verificationMaterial":{"publicKey":{}}}',
        b'{"verificationMaterial":{"publicKey":{"hint":""}}}',
        b'{"verificationMaterial":{"publicKey":{"hint":"ab"}}}',
        b'{"verificationMaterial":{"x509CertificateChain":{}}}',
        b" " * (1 << 17),
    ],
)
def test_a_signature_file_that_is_none(
    copy: Path, keys: tuple[Path, Path], content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (copy / "model.sig").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.sig: "):
        check_signature(copy, keys[1])
    assert capsys.readouterr() == ("", "")


def test_a_linked_signature_or_manifest_is_refused(copy: Path, keys: tuple[Path, Path]) -> None:
    sign(copy, keys[0])
    for name in ("model.sig", "manifest.json"):
        outside = (copy / name).rename(copy.parent / name)
        (copy / name).symlink_to(outside)
        with pytest.raises(ArtifactError, match="not a regular file"):
            check_signature(copy, keys[1])
        (copy / name).unlink()
        outside.rename(copy / name)
    check_signature(copy, keys[1])


def test_what_is_no_key_is_refused_by_name(
    copy: Path, keys: tuple[Path, Path], tmp_path: Path
) -> None:
    sign(copy, keys[0])
    koblitz = write_keys(tmp_path, "koblitz", ec.SECP256K1())
    locked = tmp_path / "locked.pem"
    locked.write_bytes(
        ec.generate_private_key(ec.SECP256R1()).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )
    rsa_public = tmp_path / "rsa.pem"
    rsa_public.write_bytes(
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    text = tmp_path / "text.pem"
    text.write_text("no key")
    for public in (koblitz[1], keys[0], rsa_public, text):
        assert f"{public}: must be an elliptic curve key on P-256" in refused(copy, public)
    for private in (koblitz[0], keys[1], locked, text):
        with pytest.raises(SignatureError, match="must be an elliptic curve key on P-256"):
            sign(copy, private)
    certificate = tmp_path / "certificate.pem"
    certificate.write_text("-----BEGIN CERTIFICATE-----\nMAo=\n-----END CERTIFICATE-----\n")
    wanted = "an elliptic curve key on P-256, P-384 or P-521, PEM, private and without password"
    for key, holds in (
        (certificate, "CERTIFICATE"),
        (keys[1], "PUBLIC KEY"),
        (locked, "ENCRYPTED PRIVATE KEY"),
        (koblitz[0], "EC PRIVATE KEY, of another kind or spoiled"),
        (text, "no PEM"),
    ):
        with pytest.raises(SignatureError) as error:
            sign(copy, key)
        assert str(error.value) == f"{key}: must be {wanted}; it holds {holds}"
    missing = tmp_path / "missing.pem"
    assert "missing.pem: cannot be read: No such file" in refused(copy, missing)
    with pytest.raises(SignatureError, match="cannot be read: No such file"):
        sign(copy, missing)
    check_signature(copy, keys[1])  # none of the refused keys has touched the signature


def test_keys_made_with_openssl_are_taken(copy: Path, tmp_path: Path) -> None:
    key, public = signing_keys(tmp_path)
    assert key.stat().st_mode & 0o077 == 0
    sign(copy, key)
    check_signature(copy, public)


def test_without_the_extra_the_error_says_how_to_get_it(copy: Path) -> None:
    (copy / "model.sig").write_text('{"verificationMaterial":{"publicKey":{"hint":"ab"}}}')
    code = (
        "import sys; sys.modules['model_signing'] = None\n"
        "from pathlib import Path\n"
        "from escalade.edge.artifact import check_signature\n"
        "from escalade.edge.errors import SignatureError\n"
        "try: check_signature(Path(sys.argv[1]), Path('key.pem'))\n"
        "except SignatureError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, copy], capture_output=True, text=True, check=True
    )
    assert done.stdout == "signatures need model_signing: pip install 'escalade[signing]'\n"


def test_opening_without_a_key_loads_no_cryptography(float_artifact: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from escalade.edge.generation import Artifact\n"
        "Artifact.open(Path(sys.argv[1]))\n"
        "print(sorted({'model_signing', 'cryptography', 'sigstore'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, float_artifact], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_what_is_known_of_a_signature(copy: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    other = write_keys(tmp_path, "other")
    assert [signature_state(copy), signature_state(copy, keys[1])] == ["none", "none"]
    sign(copy, keys[0])
    states = [signature_state(copy, key) for key in (None, keys[1], other[1])]
    assert states == ["unchecked", "valid", "invalid"]
    with pytest.raises(SignatureError, match="must be an elliptic curve key"):
        signature_state(copy, keys[0])
    good = (copy / "model.sig").read_bytes()
    for content in (b"", b"signed!", b"{}", good[:-40], bytes(1 << 17)):
        (copy / "model.sig").write_bytes(content)
        assert [signature_state(copy, key) for key in (None, keys[1])] == ["unreadable"] * 2
    (copy / "model.sig").unlink()
    (copy / "model.sig").symlink_to("nowhere")
    assert signature_state(copy) == "unreadable"


def test_a_changed_manifest_is_said_in_words(copy: Path, keys: tuple[Path, Path]) -> None:
    sign(copy, keys[0])
    (copy / "manifest.json").write_bytes((copy / "manifest.json").read_bytes() + b"\n")
    said = refused(copy, keys[1])
    assert said.endswith("): Signature mismatch, manifest.json is not as it was signed")
