"""An artifact on disk: manifest, integrity, signature, memory; loads no program."""

from escalade.edge.artifact.identity import program_digest
from escalade.edge.artifact.integrity import bounded, open_plain, read_bounded
from escalade.edge.artifact.manifest import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    TOKENIZER_NAME,
    ChatEntry,
    Format,
    GoldenEntry,
    Manifest,
    ModelEntry,
    ParityEntry,
    QuantizationEntry,
    Scheme,
    file_entry,
    load_manifest,
    parse_manifest,
    read_manifest,
    write_manifest,
)
from escalade.edge.artifact.memory import MemoryNeeded, memory_needed
from escalade.edge.artifact.opening import read_checked, shared_lock_if_possible
from escalade.edge.artifact.signing import (
    MAX_SIGNATURE_BYTES,
    SignatureState,
    check_signature,
    is_signed,
    sign,
    signature_state,
)

__all__ = [
    "MANIFEST_NAME",
    "MANIFEST_SCHEMA",
    "MAX_MANIFEST_BYTES",
    "MAX_SIGNATURE_BYTES",
    "SIGNATURE_NAME",
    "TOKENIZER_NAME",
    "ChatEntry",
    "Format",
    "GoldenEntry",
    "Manifest",
    "MemoryNeeded",
    "ModelEntry",
    "ParityEntry",
    "QuantizationEntry",
    "Scheme",
    "SignatureState",
    "bounded",
    "check_signature",
    "file_entry",
    "is_signed",
    "load_manifest",
    "memory_needed",
    "open_plain",
    "parse_manifest",
    "program_digest",
    "read_bounded",
    "read_checked",
    "read_manifest",
    "shared_lock_if_possible",
    "sign",
    "signature_state",
    "write_manifest",
]
