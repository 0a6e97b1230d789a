"""Writes a sentence encoder as an artifact, held against transformers; knows no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from escalade.checkpoint import (
    CheckpointError,
    classifier_window,
    load_sentence_encoder,
    longest_sentence,
)
from escalade.edge.artifact import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    EmbeddingEntry,
    Likeness,
    Manifest,
    ParityEntry,
    Scheme,
    file_entry,
    write_manifest,
)
from escalade.edge.base import atomic_folder, utc_now
from escalade.edge.deferral import DeferralEntry
from escalade.edge.generation import SentenceEncoder
from escalade.export.artifact.classifier import (
    CLASSIFIER_SCHEMES,
    DEFAULT_GOLDEN_TEXTS,
    PACKAGES,
    encoder_entry,
)
from escalade.export.blueprints import sentence_encoder_of
from escalade.export.errors import ExportParityError, ModelError, OptionError
from escalade.export.model import check_fits, write_tokenizer
from escalade.export.onnx import PROGRAM_NAME, export_onnx_classifier
from escalade.export.quiet import quiet
from escalade.export.versions import versions_of

# Of a number of a vector of length 1, where weights are float32: sums in another order. MiniLM came
# within 2e-7.
_FLOAT_NUMBER = 1e-4
# Until the program was asked.
_UNASKED = (Likeness(first="a", second="a", cosine=1.0),)


def export_sentence_encoder(
    model_dir: Path,
    out: Path,
    *,
    name: str | None = None,
    quantize: Scheme = "none",
    golden_texts: Sequence[str] = DEFAULT_GOLDEN_TEXTS,
    progress: Callable[[str], None] = lambda step: None,
) -> Manifest:
    """Export a sentence encoder to an artifact folder.

    Args:
        model_dir: of sentence-transformers: a BERT (MiniLM is one), DistilBERT or RoBERTa, the
            mean of its tokens, and at most `Normalize` after it.
        out: the artifact; replaced if an artifact is there.
        name: what the model is called; as its folder if None.
        quantize: see `export_classifier`.
        golden_texts: at least 1; held against torch now, and by every later opening.
        progress: called with a line before each step.

    Returns:
        The manifest that was written.

    Raises:
        ModelError: the model cannot be loaded, or is of a kind that cannot be written.
        OptionError: `quantize` is not for encoders.
        ExportParityError: an unquantized program does not give torch's numbers, or any program one
            that is no number.
    """
    if quantize not in CLASSIFIER_SCHEMES:
        raise OptionError(
            f"--quantize for a sentence encoder must be one of {', '.join(CLASSIFIER_SCHEMES)}, got"
            f" {quantize}"
        )
    progress("loading the model")
    try:
        with quiet():
            model = load_sentence_encoder(model_dir)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    check_fits(model, quantize)
    with atomic_folder(out, marker=MANIFEST_NAME) as folder:
        tokenizer = write_tokenizer(model_dir, folder)
        try:
            window = classifier_window(model.config, tokenizer, model_dir)
            window = min(window, longest_sentence(model_dir) or window)
            entry = encoder_entry(model, tokenizer, model_dir, window, name)
        except (OSError, ValueError) as error:  # a CheckpointError is one
            raise ModelError(str(error)) from error
        progress("writing the onnx program")
        with quiet():
            quantization = export_onnx_classifier(
                sentence_encoder_of(model, window), folder, scheme=quantize
            )
        embedding = EmbeddingEntry(
            dimensions=model.config.hidden_size, golden=list(_UNASKED), max_abs_delta=0.0
        )
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            format="onnx",
            program=PROGRAM_NAME,
            embedding=embedding,
            files={path.name: file_entry(path) for path in sorted(folder.iterdir())},
            model=entry,
            quantization=quantization,
            deferral=DeferralEntry(),
            golden=[],
            # Of answers, and it has none.
            parity=ParityEntry(
                prompts=0, same_tokens=0, mean_abs_delta_nll=0.0, max_abs_delta_nll=0.0
            ),
            versions=versions_of(PACKAGES),
            created=utc_now(),
        )
        write_manifest(folder, manifest)
        progress("checking parity with torch")
        encoder = SentenceEncoder.open(folder)
        delta = max(
            float(np.abs(encoder.embed(text) - embedded(model, tokenizer, text, window)).max())
            for text in golden_texts
        )
        if not delta <= (_FLOAT_NUMBER if quantize == "none" else 1.0):
            raise ExportParityError(
                f"{model_dir}: numbers of the golden texts are {delta:.2g} from torch's, at most"
                f" {_FLOAT_NUMBER if quantize == 'none' else 1.0:g} with --quantize {quantize}"
            )
        pairs = zip(golden_texts, [*golden_texts[1:], golden_texts[0]], strict=True)
        golden = [
            Likeness(first=one, second=other, cosine=encoder.similarity(one, other))
            for one, other in pairs
        ]
        embedding = msgspec.structs.replace(embedding, golden=golden, max_abs_delta=delta)
        manifest = msgspec.structs.replace(manifest, embedding=embedding)
        write_manifest(folder, manifest)
    return manifest


def embedded(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, text: str, window: int
) -> NDArray[np.float32]:
    """What transformers makes of a text: the mean of its tokens, at length 1, `(H,)`."""
    read = tokenizer(text, truncation=True, max_length=window, return_tensors="pt")
    with torch.inference_mode():
        states = model(input_ids=read["input_ids"], attention_mask=read["attention_mask"])
    mean = states.last_hidden_state[0].mean(0)
    unit: NDArray[np.float32] = torch.nn.functional.normalize(mean, dim=0).numpy()
    return unit
