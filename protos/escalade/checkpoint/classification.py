"""What the folder of a classifier says of its classes and of the longest text; knows no weights."""

from __future__ import annotations

import sys
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from escalade.checkpoint.errors import CheckpointError
from escalade.checkpoint.exportable import ACTIVATIONS, ONNX_CLASSIFIERS
from escalade.checkpoint.files import CONFIG_NAME, read_object
from escalade.checkpoint.sentences import has_classes, reads_mean

_ARCHITECTURE = "ForSequenceClassification"
# What transformers has for `model_max_length` where a tokenizer names none: no length at all.
_NO_LENGTH = sys.maxsize // 2
# Special tokens and one of the text.
_FEWEST_TOKENS = 3
_LANGUAGE_MODELS = ("ForCausalLM", "ForConditionalGeneration")


def is_classifier(folder: Path) -> bool:
    """Whether a model's folder says that it classifies texts; False where it cannot be read.

    A sentence encoder is one, too, which may lack its classes (`is_sentence_encoder`).
    """
    try:
        listed = read_object(folder / CONFIG_NAME).get("architectures")
    except CheckpointError:
        return False
    named = [str(one) for one in listed] if isinstance(listed, list) else []
    if reads_mean(folder):
        return not any(one.endswith(_LANGUAGE_MODELS) for one in named)
    return any(one.endswith(_ARCHITECTURE) for one in named)


def is_sentence_encoder(folder: Path) -> bool:
    """Whether a model's folder says that it makes vectors of texts, and no classes.

    Raises:
        CheckpointError: `modules.json` is there and cannot be read.
    """
    return reads_mean(folder) and is_classifier(folder) and not has_classes(folder)


def check_encoder(config: PreTrainedConfig, where: object) -> None:
    """Refuse an encoder that is not written to ONNX, whatever its head.

    Args:
        config: of any model.
        where: it came from, for messages.

    Raises:
        CheckpointError: its family, or a setting of it, is none that is written.
    """
    if config.model_type not in ONNX_CLASSIFIERS:
        raise CheckpointError(
            f"{where}: model type must be one of {', '.join(sorted(ONNX_CLASSIFIERS))} for a"
            f" classifier, got {config.model_type!r}"
        )
    activation = getattr(config, "hidden_act", None) or config.activation
    if activation not in ACTIVATIONS:
        raise CheckpointError(
            f"{where}: activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}"
        )
    for name in ("is_decoder", "add_cross_attention"):
        if getattr(config, name, False):
            raise CheckpointError(f"{where}: {name} must be False, got True")


def labels_of(config: PreTrainedConfig, where: object) -> list[str]:
    """The labels of a classifier that gives each text one of several, in the order of its classes.

    Args:
        config: of a classifier.
        where: it came from, for messages.

    Raises:
        CheckpointError: its family, or a setting of it, is none that is written; it is for several
            labels of one text, or a number; or `id2label` leaves one out.
    """
    check_encoder(config, where)
    if config.problem_type not in {None, "single_label_classification"}:
        raise CheckpointError(
            f"{where}: problem_type must be single_label_classification, got"
            f" {config.problem_type}: a text has one label here"
        )
    named = {int(index): str(label) for index, label in (config.id2label or {}).items()}
    if len(named) < 2:  # noqa: PLR2004
        raise CheckpointError(f"{where}: id2label must name at least 2 labels, got {len(named)}")
    if sorted(named) != list(range(len(named))):
        missing = next(index for index in range(len(named)) if index not in named)
        raise CheckpointError(
            f"{where}: id2label must name each class of 0-{len(named) - 1}, lacks {missing}"
        )
    return [named[index] for index in range(len(named))]


def classifier_window(
    config: PreTrainedConfig, tokenizer: PreTrainedTokenizerFast, where: object
) -> int:
    """Tokens of a text that are read: where transformers truncates, and no more than it may.

    Args:
        config: of a classifier.
        tokenizer: its own; its `model_max_length` counts where it names one.
        where: it came from, for messages.

    Raises:
        CheckpointError: it has no room for a text.
    """
    positions = int(config.max_position_embeddings)
    if config.model_type == "roberta":  # the first stand for padding and what is before it
        positions -= int(config.pad_token_id) + 1
    stated = tokenizer.model_max_length
    window = min(positions, stated) if stated < _NO_LENGTH else positions
    if window < _FEWEST_TOKENS:
        raise CheckpointError(
            f"{where}: max_position_embeddings and model_max_length must leave at least"
            f" {_FEWEST_TOKENS} tokens, leave {window}"
        )
    return window
