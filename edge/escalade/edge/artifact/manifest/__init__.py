"""The manifest of an artifact: what is in the folder and what it should answer."""

from escalade.edge.artifact.manifest.budget import BudgetEntry, ChoiceEntry, LostEntry
from escalade.edge.artifact.manifest.embedding import EmbeddingEntry, Likeness
from escalade.edge.artifact.manifest.entries import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    MAX_MANIFEST_BYTES,
    SIGNATURE_NAME,
    TOKENIZER_NAME,
    ChatEntry,
    Format,
    GgufScheme,
    GoldenEntry,
    Manifest,
    ModelEntry,
    ParityEntry,
    QuantizationEntry,
    Scheme,
)
from escalade.edge.artifact.manifest.planes import (
    PlanesEntry,
    kernel_bits,
    places_of,
    planes_name,
)
from escalade.edge.artifact.manifest.reading import (
    check_files,
    file_entry,
    load_manifest,
    parse_manifest,
    read_manifest,
    write_manifest,
)

__all__ = [
    "MANIFEST_NAME",
    "MANIFEST_SCHEMA",
    "MAX_MANIFEST_BYTES",
    "SIGNATURE_NAME",
    "TOKENIZER_NAME",
    "BudgetEntry",
    "ChatEntry",
    "ChoiceEntry",
    "EmbeddingEntry",
    "Format",
    "GgufScheme",
    "GoldenEntry",
    "Likeness",
    "LostEntry",
    "Manifest",
    "ModelEntry",
    "ParityEntry",
    "PlanesEntry",
    "QuantizationEntry",
    "Scheme",
    "check_files",
    "file_entry",
    "kernel_bits",
    "load_manifest",
    "parse_manifest",
    "places_of",
    "planes_name",
    "read_manifest",
    "write_manifest",
]
