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


def tokenizer_fingerprint(path: Path) -> str:
    """The sha256 of the canonical tokenizer.json, in hexadecimal.

    Canonical: parsed, without the top-level keys `padding` and `truncation`, dumped with
    sorted keys, no blanks and plain UTF-8.

    Args:
        path: a `tokenizer.json`.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is no JSON object, or has text that is no Unicode; names the file.
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("its top level must be an object")
        kept = {key: value for key, value in content.items() if key not in _NOT_IDENTITY}
        canonical = json.dumps(kept, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        # Half of a surrogate pair passes JSON and is no text.
        return hashlib.sha256(canonical.encode()).hexdigest()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a tokenizer.json: {error}") from error


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
