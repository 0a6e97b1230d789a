"""What a manifest says, in its parts; knows no file.

An artifact is a folder with `manifest.json`, `tokenizer.json` and a program. The manifest
names every file with its size and sha256, says who the model is, how it was quantized,
under which rule and threshold it defers, and what it must answer to a few golden prompts. A
classifier's names its labels too; a linear one has no tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec

from escalade.edge.artifact.manifest.budget import BudgetEntry
from escalade.edge.artifact.manifest.embedding import EmbeddingEntry
from escalade.edge.artifact.manifest.planes import PlanesEntry
from escalade.edge.classification import ClassificationEntry, LinearEntry
from escalade.edge.deferral import DeferralEntry, Table

MANIFEST_SCHEMA = 2
MANIFEST_NAME = "manifest.json"
TOKENIZER_NAME = "tokenizer.json"
#: Signs the manifest, which names everything else; so the manifest cannot name it.
SIGNATURE_NAME = "model.sig"
#: A manifest is a few kilobytes; reading more than this would be somebody's attack.
MAX_MANIFEST_BYTES = 1 << 20


def _positive(most: int) -> msgspec.Meta:
    """From 1 to what no model comes near, so that no product surprises who allocates by it.

    Today's largest have 2T parameters, 10M tokens of window, 0.3M of vocabulary.
    """
    return msgspec.Meta(ge=1, le=most)


Format = Literal["onnx", "executorch", "linear", "gguf"]
#: How the weights of programs that export makes are stored.
OwnScheme = Literal["none", "float16", "int8", "int4", "dynamic-int8", "8da4w"]
#: Those of a GGUF file from elsewhere: llama.cpp's names of its file types, in lower case.
GgufScheme = Literal[
    "bf16", "q1_0", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0",
    "q2_k", "q2_k_s", "q3_k_s", "q3_k_m", "q3_k_l", "q4_k_s", "q4_k_m", "q5_k_s", "q5_k_m", "q6_k",
    "iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq3_xxs", "iq3_xs", "iq3_s", "iq3_m",
    "iq4_nl", "iq4_xs", "tq1_0", "tq2_0", "mxfp4_moe", "nvfp4",
]  # fmt: skip
Scheme = OwnScheme | GgufScheme


class FileEntry(Table, frozen=True, kw_only=True):
    """A file of the artifact."""

    sha256: str
    bytes: int


class ChatEntry(Table, frozen=True, kw_only=True):
    """How a conversation becomes a prompt."""

    #: The file with the Jinja template, in the artifact.
    template: str
    #: What templates know special tokens by: `bos_token`, `eos_token`, or names of the model's own.
    special_tokens: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
    #: Two of them, in manifests that were written before all were; empty where there are none.
    bos_token: str = ""
    eos_token: str = ""


class ModelEntry(Table, frozen=True, kw_only=True):
    """Who the small model is, and what it can take."""

    name: str
    #: sha256 over the weight files it was exported from.
    revision: str
    #: Of a linear model that of its features.
    tokenizer_fingerprint: str
    #: Of a classifier without the tables of which a token takes a row.
    parameters: Annotated[int, _positive(1 << 44)]
    vocabulary_size: Annotated[int, _positive(1 << 24)]
    #: Longest prompt plus response, in tokens; a classifier reads no more of a text.
    window: Annotated[int, _positive(1 << 24)]
    end_of_sequence_ids: list[int]
    #: How many tokens a response may have unless the caller says otherwise.
    max_new_tokens: Annotated[int, _positive(1 << 24)]
    layers: Annotated[int, _positive(1 << 12)]
    kv_heads: Annotated[int, _positive(1 << 12)]
    head_dim: Annotated[int, _positive(1 << 14)]
    #: Numbers for each token in the widest result between layers.
    widest: Annotated[int, _positive(1 << 20)]
    #: Bytes of one number in the cache of keys and values.
    kv_bytes: Annotated[int, _positive(8)] = 4
    #: What the decoder of an encoder-decoder begins with; None for a decoder alone.
    decoder_start_id: int | None = None
    chat: ChatEntry | None = None


class QuantizationEntry(Table, frozen=True, kw_only=True):
    """How the weights are stored."""

    scheme: Scheme
    #: Input values that share one scale; None where the scheme has no blocks.
    block_size: int | None = None
    #: In words, for people.
    detail: str
    #: Where each matrix has bits and blocks of its own; manifests of other programs lack it.
    budget: BudgetEntry | msgspec.UnsetType = msgspec.UNSET

    @property
    def planes(self) -> Sequence[PlanesEntry]:
        """Of matrices whose integers are stored in planes, in the order of their file."""
        return (self.budget.planes or ()) if self.budget else ()


class ParityEntry(Table, frozen=True, kw_only=True):
    """The exported program held against torch on the golden prompts, at export time."""

    prompts: int
    #: Prompts whose every token is torch's greedy choice.
    same_tokens: int
    #: Mean over prompts of |NLL of the program - NLL under torch|, of each one's own answer.
    mean_abs_delta_nll: float
    max_abs_delta_nll: float


class GoldenEntry(Table, frozen=True, kw_only=True):
    """A prompt and what this program answers to it."""

    prompt: str
    prompt_ids: list[int]
    #: Generated ids, the end-of-sequence token included.
    token_ids: list[int]
    #: Mean NLL of those tokens.
    nll: float


class Manifest(Table, frozen=True, kw_only=True):
    """Everything the edge needs to know before it opens a program."""

    schema: int
    format: Format
    #: File that generates: the decoder, where there is an encoder too.
    program: str
    #: File of the encoder; None for a decoder alone.
    encoder: str | None = None
    #: Of a classifier; manifests of other models do not have it.
    classification: ClassificationEntry | msgspec.UnsetType = msgspec.UNSET
    #: Of a sentence encoder, likewise.
    embedding: EmbeddingEntry | msgspec.UnsetType = msgspec.UNSET
    files: dict[str, FileEntry]
    model: ModelEntry
    quantization: QuantizationEntry
    deferral: DeferralEntry
    golden: list[GoldenEntry]
    parity: ParityEntry
    versions: dict[str, str]
    created: str

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(entry.bytes for entry in self.files.values())

    @property
    def classifier(self) -> ClassificationEntry | None:
        """What makes it one; None of a model that generates."""
        return self.classification or None

    @property
    def reads_once(self) -> bool:
        """Whether a text is read whole, in one piece, and as much of it as its window takes."""
        return bool(self.classification or self.embedding)

    @property
    def linear(self) -> LinearEntry | None:
        """What makes it a linear classifier, which has no tokenizer; None of any other model."""
        return self.classification.linear if self.classification else None
