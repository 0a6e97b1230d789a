"""Says which tokenizer and which weights a model folder holds; knows no framework, no message.

Device and server compute these values each for itself and compare them: `ModelIdentity`.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_CHUNK_BYTES = 1 << 20

# Call-time settings that tokenizers stores in the file; they name no other tokenizer.
_NOT_IDENTITY = ("padding", "truncation")

# Of BPE the share of merges left out; of Unigram what it samples segmentations by.
_RANDOM = ("dropout", "alpha", "nbest_size")


def tokenizer_fingerprint(path: Path) -> str:
    """The fingerprint of a file; see `fingerprint_of`.

    Raises:
        OSError: the file cannot be read.
        ValueError: see `fingerprint_of`.
    """
    return fingerprint_of(path.read_bytes(), path)


def fingerprint_of(content: bytes | str, where: object) -> str:
    """The sha256 of the canonical tokenizer.json, in hexadecimal.

    Canonical: parsed, without the top-level keys `padding` and `truncation`, dumped with
    sorted keys, no blanks and plain UTF-8.

    Args:
        content: of a `tokenizer.json`.
        where: it came from, for messages.

    Raises:
        ValueError: it is no JSON object, has text that is no Unicode, or reads one text in
            several ways; names where it came from.
    """
    try:
        parsed = json.loads(content)
        if not isinstance(parsed, dict):
            raise ValueError("its top level must be an object")
        kept = {key: value for key, value in parsed.items() if key not in _NOT_IDENTITY}
        canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        # Half of a surrogate pair passes JSON and is no text.
        digest = hashlib.sha256(canonical.encode()).hexdigest()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where}: not a tokenizer.json: {error}") from error
    _check_not_random(parsed, where)
    return digest


def _check_not_random(parsed: dict[str, object], where: object) -> None:
    """Refuse what makes one text many prompts: nothing that is compared would mean anything."""
    model = parsed.get("model")
    if not isinstance(model, dict):
        return
    for key in _RANDOM:
        if model.get(key):
            raise ValueError(
                f"{where}: model.{key} must be null, got {str(model[key])[:20]}: it is for"
                " training tokenizers, and reads one text in many ways"
            )


def weights_revision(folder: Path) -> str:
    """The sha256 over the bytes of all `*.safetensors` files in name order, in hexadecimal.

    Args:
        folder: of a model.

    Raises:
        OSError: a file cannot be read.
        ValueError: the folder holds no such file; names it.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ValueError(f"{folder}: no *.safetensors file; other weight formats are not loaded")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
