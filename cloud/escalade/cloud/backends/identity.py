"""Says which weights and which tokenizer a model folder holds; knows no framework."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from escalade.cloud.errors import ModelError

_CHUNK_BYTES = 1 << 20

# Call-time settings that tokenizers stores in the file; they name no other tokenizer.
_NOT_IDENTITY = ("padding", "truncation")


def tokenizer_fingerprint(path: Path) -> str:
    """The sha256 of the canonical tokenizer.json, in hexadecimal.

    Canonical: parsed, without the top-level keys `padding` and `truncation`, dumped with
    sorted keys, no blanks and plain UTF-8.

    Args:
        path: a `tokenizer.json`.

    Raises:
        ModelError: the file is missing or not a JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: a readable tokenizer.json is needed: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path}: not a tokenizer.json: its top level must be an object")
    kept = {key: value for key, value in content.items() if key not in _NOT_IDENTITY}
    canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def weights_revision(folder: Path) -> str:
    """The sha256 over the bytes of all `*.safetensors` files in name order, in hexadecimal.

    Raises:
        ModelError: the folder holds no such file.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise ModelError(f"{folder}: no *.safetensors file; other weight formats are not loaded")
    digest = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
