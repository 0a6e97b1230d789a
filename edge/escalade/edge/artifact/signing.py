"""Signs an artifact's manifest and checks whose signature it carries; knows no network.

The signature is an OpenSSF model signature (a Sigstore bundle, made offline with an elliptic
curve key) over `manifest.json` alone: the manifest names every other file with its sha256, so
nothing in the folder can change without changing it. It lies beside it as `model.sig`.

The library, model-signing, is the extra `signing`; it is imported only here and only when a
signature is made or checked.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Literal

import msgspec

from escalade.edge.artifact.integrity import read_bounded
from escalade.edge.artifact.manifest import (
    MANIFEST_NAME,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    read_manifest,
)
from escalade.edge.base import atomic_write
from escalade.edge.errors import ArtifactError, SignatureError

#: A bundle over one file takes 2 KB.
MAX_SIGNATURE_BYTES = 1 << 16
# What the library says where the digests differ.
_MISMATCH = "Signature mismatch"
_HEADING, _MOST_HEADING = re.compile(r"^-----BEGIN ([A-Z0-9 ]{1,40})-----\s*$", re.M), 1 << 16
_CURVES = "an elliptic curve key on P-256, P-384 or P-521, PEM"


#: `valid` and `invalid` are said of a key; without one a signature is `unchecked`.
SignatureState = Literal["none", "unreadable", "unchecked", "valid", "invalid"]


class _PublicKey(msgspec.Struct):
    #: sha256 of the signer's public key.
    hint: str


class _Material(msgspec.Struct, rename="camel"):
    public_key: _PublicKey


class _Bundle(msgspec.Struct, rename="camel"):
    verification_material: _Material


def sign(folder: Path, private_key: Path) -> None:
    """Write `model.sig` over the manifest, once every file of the artifact has been checked.

    Args:
        folder: an artifact; a signature that is there is replaced.
        private_key: PEM without password, on P-256, P-384 or P-521.

    Raises:
        ArtifactError: the artifact is not whole.
        SignatureError: the key cannot be used, or model-signing is not installed.
    """
    read_manifest(folder)
    library = _library()
    try:
        config = library.signing.Config().use_elliptic_key_signer(private_key=private_key)
    except OSError as error:
        raise SignatureError(f"{private_key}: cannot be read: {error.strerror}") from error
    except Exception as error:  # what is no key makes the library raise many kinds
        held = _held(private_key, "PRIVATE KEY")
        raise SignatureError(
            f"{private_key}: must be {_CURVES}, private and without password; {held}"
        ) from error
    with tempfile.TemporaryDirectory() as scratch:
        signed = Path(scratch) / SIGNATURE_NAME
        config.set_hashing_config(library.hashing.Config()).sign(folder / MANIFEST_NAME, signed)
        with atomic_write(folder / SIGNATURE_NAME) as stream:
            stream.write(signed.read_bytes())


def check_signature(folder: Path, public_key: Path) -> None:
    """Check that the manifest is the one that the holder of a key has signed.

    The files are not read: `read_manifest` holds them against the manifest.

    Args:
        folder: holds `manifest.json` and `model.sig`.
        public_key: PEM, on P-256, P-384 or P-521.

    Raises:
        ArtifactError: the manifest is missing, no regular file, or cannot be read.
        SignatureError: there is no signature, it is another key's or another manifest's, the
            key cannot be used, or model-signing is not installed.
    """
    where = folder / SIGNATURE_NAME
    # Neither a link nor more than a manifest's bytes for the library to read.
    read_bounded(folder / MANIFEST_NAME, MAX_MANIFEST_BYTES)
    if not is_signed(folder):
        raise SignatureError(f"{folder}: not signed: {SIGNATURE_NAME} is missing")
    signer = _signer(where)
    verify = _verifier(public_key)
    try:
        verify(folder / MANIFEST_NAME, where)
    except Exception as error:  # the library lets through what its parsers raise
        why = str(error) or "it does not verify"
        if why.startswith(_MISMATCH):  # what follows is Python
            why = f"{_MISMATCH}, {MANIFEST_NAME} is not as it was signed"
        raise SignatureError(
            f"{where}: not a signature of this {MANIFEST_NAME} by {public_key}"
            f" (signer's key {signer[:12]}): {why}"
        ) from error


def is_signed(folder: Path) -> bool:
    """Whether the artifact carries a `model.sig`, of whomever and whatever is in it."""
    return os.path.lexists(folder / SIGNATURE_NAME)


def signature_state(folder: Path, public_key: Path | None = None) -> SignatureState:
    """What is known of an artifact's signature.

    Raises:
        SignatureError: the key cannot be used, or model-signing is not installed.
    """
    if not is_signed(folder):
        return "none"
    try:
        _signer(folder / SIGNATURE_NAME)
    except ArtifactError:
        return "unreadable"
    if public_key is None:
        return "unchecked"
    _verifier(public_key)
    try:
        check_signature(folder, public_key)
    except ArtifactError:
        return "invalid"
    return "valid"


def _signer(where: Path) -> str:
    """What a bundle says of its signer's key.

    Raises:
        ArtifactError: it is no regular file, or too long.
        SignatureError: it is none.
    """
    try:
        # Without a hint the library prints to stdout and tries an older format.
        bundle = msgspec.json.decode(read_bounded(where, MAX_SIGNATURE_BYTES), type=_Bundle)
    except (ValueError, RecursionError) as error:
        raise SignatureError(f"{where}: not a signature by a key: {error}") from error
    if not bundle.verification_material.public_key.hint:
        raise SignatureError(f"{where}: not a signature by a key: it names none")
    return bundle.verification_material.public_key.hint


def _verifier(public_key: Path) -> Callable[[Path, Path], None]:
    """What holds a manifest against a signature.

    Raises:
        SignatureError: the key cannot be used, or model-signing is not installed.
    """
    library = _library()
    try:
        config = library.verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    except OSError as error:
        raise SignatureError(f"{public_key}: cannot be read: {error.strerror}") from error
    except Exception as error:  # as above
        held = _held(public_key, "PUBLIC KEY")
        raise SignatureError(f"{public_key}: must be {_CURVES}, public; {held}") from error
    verify: Callable[[Path, Path], None]
    verify = config.set_hashing_config(library.hashing.Config()).verify
    return verify


def _held(key: Path, wanted: str) -> str:
    """What a file says of itself that is no such key; cryptography says it with an address."""
    with key.open("rb") as stream:
        begins = stream.read(_MOST_HEADING).decode("ascii", "replace")
    if (heading := _HEADING.search(begins)) is None:
        return "it holds no PEM"
    usual = heading[1] in {wanted, f"EC {wanted}"}
    return f"it holds {heading[1]}" + (", of another kind or spoiled" if usual else "")


def _library() -> ModuleType:
    try:
        import model_signing
    except ModuleNotFoundError as error:
        raise SignatureError(
            f"signatures need {error.name}: pip install 'escalade[signing]'"
        ) from error
    return model_signing
