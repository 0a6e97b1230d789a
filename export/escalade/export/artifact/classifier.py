"""Writes an encoder that classifies as an artifact, held against transformers; knows no network."""

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
    check_vocabulary,
    classifier_window,
    labels_of,
    load_classifier,
    tokenizer_fingerprint,
)
from escalade.edge.artifact import (
    MANIFEST_NAME,
    MANIFEST_SCHEMA,
    Manifest,
    ModelEntry,
    Scheme,
    file_entry,
    write_manifest,
)
from escalade.edge.base import atomic_folder, utc_now
from escalade.edge.classification import ClassificationEntry, check_labels
from escalade.edge.deferral import DeferralEntry
from escalade.edge.generation import Artifact
from escalade.export.blueprints import classifier_of
from escalade.export.class_parity import check_labels_given, label_golden, measure_labels
from escalade.export.errors import ExportParityError, ModelError, OptionError
from escalade.export.model import check_fits, write_tokenizer
from escalade.export.onnx import PROGRAM_NAME, export_onnx_classifier
from escalade.export.quiet import quiet
from escalade.export.versions import versions_of
from escalade.v1.identity import weights_revision

#: How weights may be stored.
CLASSIFIER_SCHEMES: tuple[Scheme, ...] = ("none", "float16", "int8", "int4", "dynamic-int8")
DEFAULT_GOLDEN_TEXTS = ("Hello", "The quick brown fox", "1 + 1 =")
#: Whose versions a manifest names.
PACKAGES = ("escalade", "torch", "transformers", "onnx", "onnxruntime")


def export_classifier(
    model_dir: Path,
    out: Path,
    *,
    name: str | None = None,
    quantize: Scheme = "none",
    golden_texts: Sequence[str] = DEFAULT_GOLDEN_TEXTS,
    progress: Callable[[str], None] = lambda step: None,
) -> Manifest:
    """Export an encoder with a classification head to an artifact folder.

    Args:
        model_dir: of a `*ForSequenceClassification` of BERT (MiniLM is one), DistilBERT or RoBERTa,
            with safetensors and tokenizer.json.
        out: the artifact; replaced if an artifact is there.
        name: what the model is called; as its folder if None.
        quantize: how weights are stored: `none` (float32), `float16`, `int8`, `int4` or
            `dynamic-int8`.
        golden_texts: held against torch now, and by every later opening.
        progress: called with a line before each step.

    Returns:
        The manifest that was written.

    Raises:
        ModelError: the model cannot be loaded, or is of a kind that cannot be written.
        OptionError: `quantize` is not for classifiers.
        ExportParityError: an unquantized program does not give torch's labels and
            log-probabilities, or any program one that is no number.
    """
    if quantize not in CLASSIFIER_SCHEMES:
        raise OptionError(
            f"--quantize for a classifier must be one of {', '.join(CLASSIFIER_SCHEMES)}, got"
            f" {quantize}"
        )
    progress("loading the model")
    try:
        with quiet():
            model = load_classifier(model_dir)
        labels = labels_of(model.config, model_dir)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    check_fits(model, quantize)
    with atomic_folder(out, marker=MANIFEST_NAME) as folder:
        tokenizer = write_tokenizer(model_dir, folder)
        try:
            check_labels(labels)
            window = classifier_window(model.config, tokenizer, model_dir)
            entry = encoder_entry(model, tokenizer, model_dir, window, name)
        except (OSError, ValueError) as error:  # a CheckpointError is one
            raise ModelError(str(error)) from error
        progress("writing the onnx program")
        with quiet():
            quantization = export_onnx_classifier(
                classifier_of(model, window), folder, scheme=quantize
            )
        manifest = Manifest(
            schema=MANIFEST_SCHEMA,
            format="onnx",
            program=PROGRAM_NAME,
            classification=ClassificationEntry(labels=labels),
            files={path.name: file_entry(path) for path in sorted(folder.iterdir())},
            model=entry,
            quantization=quantization,
            deferral=DeferralEntry(),
            golden=[],
            parity=measure_labels([], []),
            versions=versions_of(PACKAGES),
            created=utc_now(),
        )
        write_manifest(folder, manifest)
        progress("checking parity with torch")
        golden = label_golden(Artifact.open(folder), golden_texts)
        references = [class_logprobs(model, tokenizer, text, window) for text in golden_texts]
        parity = measure_labels(golden, references)
        try:
            check_labels_given(parity, "torch", scheme=quantize)
        except ExportParityError as error:
            raise ExportParityError(f"{model_dir}: {error}") from error
        manifest = msgspec.structs.replace(manifest, golden=golden, parity=parity)
        write_manifest(folder, manifest)
    return manifest


def class_logprobs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, text: str, window: int
) -> NDArray[np.float64]:
    """What transformers says of a text, truncated as its tokenizer does it: `(K,)`."""
    read = tokenizer(text, truncation=True, max_length=window, return_tensors="pt")
    with torch.inference_mode():
        logits = model(input_ids=read["input_ids"], attention_mask=read["attention_mask"]).logits[0]
    logprobs: NDArray[np.float64] = logits.double().log_softmax(-1).numpy()
    return logprobs


def _multiplied(model: PreTrainedModel) -> int:
    """The parameters that each token is multiplied by: tables, of which it takes a row, are not.

    A cost in FLOPs is 2 for each (`flops_of`). A language model's table counts, for its head is
    one; half or more of a small encoder's parameters are such rows.
    """
    tables = sum(
        one.weight.numel() for one in model.modules() if isinstance(one, torch.nn.Embedding)
    )
    return sum(parameter.numel() for parameter in model.parameters()) - tables


def encoder_entry(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    model_dir: Path,
    window: int,
    name: str | None,
) -> ModelEntry:
    """Who an encoder of texts is.

    Raises:
        OSError, ValueError: files cannot be read, or do not fit.
    """
    config = model.config
    check_vocabulary(tokenizer, config.vocab_size, model_dir)
    heads = config.num_attention_heads
    return ModelEntry(
        name=name or model_dir.resolve().name,
        revision=weights_revision(model_dir),
        tokenizer_fingerprint=tokenizer_fingerprint(tokenizer, model_dir),
        parameters=_multiplied(model),
        vocabulary_size=config.vocab_size,
        window=window,
        end_of_sequence_ids=[],
        max_new_tokens=1,
        layers=config.num_hidden_layers,
        kv_heads=heads,
        head_dim=config.hidden_size // heads,
        widest=getattr(config, "intermediate_size", None) or config.hidden_dim,
    )
