"""Loads the weights of a model's folder, all of them or none; knows no tokenizer."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal

import torch
import transformers
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES,
    MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES,
    MODEL_MAPPING_NAMES,
)

from escalade.checkpoint.classification import check_encoder
from escalade.checkpoint.errors import CheckpointError
from escalade.checkpoint.files import CONFIG_NAME
from escalade.checkpoint.folders import check_files
from escalade.checkpoint.loading.causality import check_causal
from escalade.checkpoint.loading.weights import (
    Kind,
    check_finite,
    check_read,
    from_pretrained,
    refusing,
)
from escalade.checkpoint.sentences import (
    MeanClassifier,
    check_mean,
    check_sentences,
    has_classes,
    load_head,
    reads_mean,
)

# A model that also sees images is a causal one where it reads texts alone.
_ARCHITECTURES: Final = {
    "causal": {
        *MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(),
        *MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.values(),
    },
    "encoder-decoder": {*MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()},
    "classifier": {*MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES.values()},
    "encoder": {
        name
        for names in MODEL_MAPPING_NAMES.values()
        for name in ([names] if isinstance(names, str) else names)
    },
}
_CALLED: Final[dict[Kind, str]] = {
    "causal": "a causal language model",
    "encoder-decoder": "an encoder-decoder language model",
    "classifier": "a classifier of texts",
    "encoder": "an encoder of texts",
}
# A token of a prompt and one of its answer.
_FEWEST_POSITIONS = 2


def load_network(
    folder: Path,
    *,
    dtype: torch.dtype | Literal["auto"],
    device: str = "cpu",
) -> PreTrainedModel:
    """A language model in eval mode, with every weight it has read from safetensors.

    Args:
        folder: as transformers' `save_pretrained` leaves it.
        dtype: of the weights in memory; `auto` keeps them as they are stored.
        device: torch's name of where to; or transformers' `device_map` of several, which needs
            accelerate.

    Raises:
        CheckpointError: the folder holds no such model, or not all of its weights, or weights that
            the model has no place for, or numbers that are none, or are none in that type; an
            adapter lies beside them; the model sees tokens that come later, or does not run, or
            not on that device and in that type.
    """
    network = _load(folder, None, dtype, device)
    check_causal(network, folder)
    return network


def load_classifier(folder: Path) -> PreTrainedModel:
    """A classifier of texts, in float32, on the CPU, as `load_network` loads.

    Raises:
        CheckpointError: see `load_network`.
    """
    if not reads_mean(folder):
        return _load(folder, "classifier", torch.float32, "cpu")
    check_mean(folder)
    encoder = _load(folder, "encoder", torch.float32, "cpu")
    model = MeanClassifier(encoder, len(encoder.config.id2label or {}))
    load_head(folder, model.classifier)
    model.train(False)
    return model


def load_sentence_encoder(folder: Path) -> PreTrainedModel:
    """What of a sentence encoder comes before the mean of its tokens, as `load_network` loads.

    In float32, on the CPU. A pooling of BERT's own is no part of it.

    Raises:
        CheckpointError: see `load_network`; or what comes after is not the mean, or the family, or
            a setting of it, is none that is written.
    """
    check_sentences(folder)
    encoder = _load(folder, "encoder", torch.float32, "cpu")
    check_encoder(encoder.config, folder)
    if getattr(encoder, "pooler", None) is not None:
        encoder.register_module("pooler", None)
    return encoder


def load_encoder(folder: Path, labels: Sequence[str], *, seed: int) -> PreTrainedModel:
    """An encoder of texts with a head for labels, in float32, on the CPU, in eval mode.

    What reads a text is read from safetensors, all of it. A head of these labels stays; one of
    others begins with random numbers, as one that is not there does, or a pooler.

    Args:
        folder: of a family that `escalade.checkpoint.labels_of` takes, with any head or none; of
            sentence-transformers, it is read by the mean of its tokens.
        labels: of the K classes.
        seed: of what begins.

    Raises:
        CheckpointError: see `load_network`; or the family, or a setting of it, is none that is
            written.
    """
    check_files(folder)
    named = dict(enumerate(labels))
    with refusing(folder), torch.random.fork_rng(devices=[]):
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        check_encoder(config, folder)
        _check_windows(folder, config)
        mean = reads_mean(folder)
        if mean:
            check_mean(folder)
        torch.manual_seed(seed)
        network, loading = from_pretrained(
            folder,
            "encoder" if mean else "classifier",
            dtype=torch.float32,
            id2label=named,
            label2id={label: number for number, label in named.items()},
            problem_type="single_label_classification",
        )
        check_read(folder, network, loading, counts=partial(_reads, network))
        if mean:
            network = headed = MeanClassifier(network, len(labels))
            if config.id2label == named and has_classes(folder):
                load_head(folder, headed.classifier)
        elif config.id2label != named:
            _begin_head(network, {*loading["missing_keys"]})
    check_finite(folder, network)
    network.train(False)
    return network


def _begin_head(network: PreTrainedModel, missing: set[str]) -> None:
    """Put random numbers where a head was read; one that is `missing` has them already."""
    base = f"{network.base_model_prefix}."
    head = {name for name in network.state_dict() if not name.startswith(base)}
    if not head <= missing:
        begun = type(network)(network.config).state_dict()
        network.load_state_dict({name: begun[name] for name in head}, strict=False)


def _reads(network: PreTrainedModel, name: str) -> bool:
    """Whether a weight is of an encoder's embeddings or layers, below pooler and head."""
    own = name.removeprefix(f"{network.base_model_prefix}.")
    return own.startswith(("embeddings.", "encoder.", "transformer."))


def _load(
    folder: Path, wanted: Kind | None, dtype: torch.dtype | Literal["auto"], device: str
) -> PreTrainedModel:
    """Of a kind, or whatever language model it is."""
    check_files(folder)
    with refusing(folder):
        config: PreTrainedConfig = AutoConfig.from_pretrained(folder, trust_remote_code=False)
        kind: Kind = wanted or ("encoder-decoder" if config.is_encoder_decoder else "causal")
        _check_architecture(folder, config, kind)
        _check_windows(folder, config)
        places = {} if device == "cpu" else {"device_map": device}
        network, loading = from_pretrained(folder, kind, dtype=dtype, **places)
    # A mean of tokens does not go through the pooling that BERT and RoBERTa have.
    check_read(
        folder,
        network,
        loading,
        counts=lambda name: kind != "encoder" or not name.startswith("pooler."),
    )
    # What accelerate keeps elsewhere until it is needed lies on `meta`.
    found = {values.device.type for values in network.parameters()}
    if device != "cpu" and not found.isdisjoint({"cpu", "meta"}):
        raise CheckpointError(f"{folder}: does not fit into the memory of the GPUs there are")
    check_finite(folder, network)
    network.train(False)
    return network


def _check_architecture(folder: Path, config: PreTrainedConfig, kind: Kind) -> None:
    """Refuse what was saved from another class."""
    # Of names that transformers does not have, such as those it once had, the weights will tell.
    named = [name for name in config.architectures or [] if hasattr(transformers, name)]
    models = [
        name
        for name in named
        if name in _ARCHITECTURES[kind]
        and getattr(transformers, name).config_class in {type(config), None}
    ]
    if named and not models:
        raise CheckpointError(
            f"{folder}: {CONFIG_NAME}: architectures: must be {_CALLED[kind]} of type"
            f" {config.model_type}, got {', '.join(named)}"
        )


def _check_windows(folder: Path, config: PreTrainedConfig) -> None:
    """Refuse windows that a cache of keys and values would obey and the attention would not."""
    text = config.get_text_config(decoder=True)
    kinds = set(getattr(text, "layer_types", None) or ())
    known = {field.name for field in dataclasses.fields(text)}
    everything = getattr(text, "max_position_embeddings", None)
    if everything is not None and everything < _FEWEST_POSITIONS:
        raise CheckpointError(
            f"{folder}: {CONFIG_NAME}: max_position_embeddings must be at least"
            f" {_FEWEST_POSITIONS}, got {everything}"
        )
    for name, layers in (
        ("sliding_window", "sliding_attention"),
        ("attention_chunk_size", "chunked_attention"),
    ):
        window = getattr(text, name, None)
        if layers in kinds and not window:
            raise CheckpointError(
                f"{folder}: {CONFIG_NAME}: {name} must be at least 1 for layers of {layers},"
                f" got {window}"
            )
        if name not in known and window is not None and window < (everything or window):
            raise CheckpointError(
                f"{folder}: {CONFIG_NAME}: {name} {window} is not taken: a"
                f" {text.model_type} has none"
            )
