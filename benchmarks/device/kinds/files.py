"""Makes the peers' files of a model, what is missing only; knows no timing."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.device.build import Peers, say

from escalade.export.artifact.artifact import export_artifact
from escalade.export.text import RoundingText

#: llama.cpp's, each with and without a matrix, but for the last, which takes none.
_ROUNDED_BY_MATRIX = ("Q4_0", "Q4_K_M", "Q5_K_M")
_ROUNDED = (*_ROUNDED_BY_MATRIX, "Q8_0")
#: onnxruntime-genai's 4-bit K-quants: all matrices alike, and some in 8 bits as Q4_K_M has them.
_GENAI = ("k_quant", "k_quant_mixed")
_DIGITS = 12  # of a text's hash, in the names of what is made of it


class Files(NamedTuple):
    """By the kind's name."""

    whole: Path
    llama: dict[str, Path]
    #: Folders.
    genai: dict[str, Path]


def peer_files(peers: Peers, model: Path, text: str, split: str, *, genai: bool) -> Files:
    """The files of each kind.

    Args:
        peers: with llama.cpp built, and genai's environment if its kinds are wanted.
        model: the folder of a Llama with tied embeddings.
        text: that the matrix is read off; empty for no kinds with one.
        split: llama.cpp's name of the way in which the tokenizer splits text.
        genai: whether its kinds are wanted.
    """
    folder = peers.root / f"gguf-{model.resolve().name}"
    folder.mkdir(exist_ok=True)
    whole = folder / "F32.gguf"
    if not whole.exists():
        say("writing the GGUF file")
        peers.convert(model, whole, split, python=Path(sys.executable))
    kept = {kind: folder / f"{kind}.gguf" for kind in _ROUNDED}
    options: dict[str, tuple[str, ...]] = {}
    if text:
        # Of another text it is another.
        matrix = folder / f"matrix-{hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]}.gguf"
        if not matrix.exists():
            say("reading llama.cpp's importance matrix off the text")
            peers.importance(whole, text, matrix)
        for kind in _ROUNDED_BY_MATRIX:
            name = f"{kind} by matrix"
            kept[name] = folder / f"{kind}-by-{matrix.name}"
            options[name] = ("--imatrix", str(matrix))
    for name, path in kept.items():
        if not path.exists():
            say(f"quantizing to {name}")
            peers.quantize(whole, path, name.partition(" ")[0], *options.get(name, ()))
    found = dict(sorted(kept.items()))
    return Files(whole, found, _genai(peers, model) if genai else {})


def our_files(
    folder: Path, model: Path, pieces: Sequence[str], bits: Sequence[float]
) -> dict[str, Path]:
    """Artifacts that are rounded by text, as llama.cpp's kinds are by its matrix.

    Args:
        folder: for them.
        model: the folder.
        pieces: of the text, as prompts.
        bits: of a weight, all told; an artifact for each.
    """
    found = {}
    for budget in bits:
        name = f"--bits {budget:g} by text"
        found[name] = folder / f"by-text-{budget:g}"
        say(f"exporting {name}")
        export_artifact(
            model, found[name], quantize="int4", bits=budget, rounded_by=RoundingText(pieces)
        )
    return found


def _genai(peers: Peers, model: Path) -> dict[str, Path]:
    found = {}
    for kind in _GENAI:
        found[kind] = peers.root / f"genai-{model.resolve().name}-{kind}"
        if not (found[kind] / "genai_config.json").exists():
            say(f"writing onnxruntime-genai's model, {kind}")
            # The head is the embedding, and shares its bytes as in ours.
            peers.write_genai(
                model.resolve(), found[kind],
                "block_size=32", "accuracy_level=4", f"algo_config={kind}", "prune_lm_head=true",
                "shared_embeddings=true",
            )  # fmt: skip
        _make_endless(found[kind] / "genai_config.json")
    return found


def _make_endless(path: Path) -> None:
    """No token ends it but the last of the vocabulary: every response has its length."""
    config = json.loads(path.read_bytes())
    config["model"]["eos_token_id"] = config["model"]["vocab_size"] - 1
    path.write_text(json.dumps(config, indent=4), "utf-8")
