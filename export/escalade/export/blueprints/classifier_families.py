"""Reads transformers' encoders of texts into blueprints, family by family; knows no ONNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from escalade.checkpoint import MeanClassifier
from escalade.export.blueprints.blueprint import Attention, FeedForward, Linear
from escalade.export.blueprints.encoder_decoder_blueprint import Layer, NormedAttention, Stack
from escalade.export.blueprints.modules import activation_of, layer_norm, linear


@dataclass(frozen=True)
class Classifier:
    """An encoder, and what makes of its tokens' results the logits of classes, or a vector."""

    #: `(V, H)`
    embedding: Tensor
    encoder: Stack
    #: `(K, H)`; None of a sentence encoder: the mean of all tokens, at length 1.
    head: Linear | None
    #: `head(activation(pooler(first token)))`; None where it is `head(mean of all tokens)`.
    pooler: Linear | None = None
    activation: Literal["tanh", "relu"] = "tanh"
    #: A token that takes no position and has the table's first (RoBERTa); None where all count.
    padding_id: int | None = None


def classifier_of(model: PreTrainedModel, window: int) -> Classifier:
    """What an encoder with a classification head is made of.

    Args:
        model: of a family that `escalade.checkpoint.labels_of` takes, in float32, on the CPU. Its
            tensors are referred to, not copied.
        window: positions to keep.
    """
    family = CLASSIFIER_FAMILIES[str(model.config.model_type)]
    base = model.base_model
    encoder, padding = family.stack(base, model.config, window)
    mean = isinstance(model, MeanClassifier)
    return Classifier(
        embedding=linear(base, "embeddings.word_embeddings").weight,
        encoder=encoder,
        head=linear(model, "classifier" if mean else family.head),
        pooler=None if mean else linear(model, family.pooler),
        activation=family.activation,
        padding_id=padding,
    )


def sentence_encoder_of(encoder: PreTrainedModel, window: int) -> Classifier:
    """What a sentence encoder is made of.

    Args:
        encoder: what comes before the mean; see `classifier_of`.
        window: positions to keep.
    """
    family = CLASSIFIER_FAMILIES[str(encoder.config.model_type)]
    stack, padding = family.stack(encoder, encoder.config, window)
    table = linear(encoder, "embeddings.word_embeddings").weight
    return Classifier(embedding=table, encoder=stack, head=None, padding_id=padding)


# Layers, and the token that takes no position, of a base model, its config and a window.
_Read = Callable[[nn.Module, PreTrainedConfig, int], tuple[Stack, int | None]]


class _Family(NamedTuple):
    stack: _Read
    #: Modules of transformers' class with a head.
    pooler: str
    activation: Literal["tanh", "relu"]
    head: str


def _bert(base: nn.Module, config: PreTrainedConfig, window: int) -> tuple[Stack, None]:
    return _bert_stack(base, config, 0, window), None


def _roberta(base: nn.Module, config: PreTrainedConfig, window: int) -> tuple[Stack, int]:
    padding = int(config.pad_token_id)
    # The first row is the padding's.
    return _bert_stack(base, config, padding, window + 1), padding


def _bert_stack(base: nn.Module, config: PreTrainedConfig, first: int, rows: int) -> Stack:
    # A text alone is of the first type, in every place.
    types = linear(base, "embeddings.token_type_embeddings").weight
    positions = linear(base, "embeddings.position_embeddings").weight[first : first + rows]
    return Stack(
        layers=[
            Layer(
                own=NormedAttention(
                    layer_norm(layer, "attention.output.LayerNorm"),
                    Attention(
                        query=linear(layer, "attention.self.query"),
                        key=linear(layer, "attention.self.key"),
                        value=linear(layer, "attention.self.value"),
                        output=linear(layer, "attention.output.dense"),
                        rotary=False,
                    ),
                ),
                feed_forward_norm=layer_norm(layer, "output.LayerNorm"),
                feed_forward=FeedForward(
                    activation=activation_of(config.hidden_act),
                    up=linear(layer, "intermediate.dense"),
                    down=linear(layer, "output.dense"),
                ),
            )
            for layer in base.get_submodule("encoder.layer").children()
        ],
        heads=config.num_attention_heads,
        head_dim=config.hidden_size // config.num_attention_heads,
        positions=positions + types[0],
        embedding_norm=layer_norm(base, "embeddings.LayerNorm"),
    )


def _distilbert(base: nn.Module, config: PreTrainedConfig, window: int) -> tuple[Stack, None]:
    stack = Stack(
        layers=[
            Layer(
                own=NormedAttention(
                    layer_norm(layer, "sa_layer_norm"),
                    Attention(
                        query=linear(layer, "attention.q_lin"),
                        key=linear(layer, "attention.k_lin"),
                        value=linear(layer, "attention.v_lin"),
                        output=linear(layer, "attention.out_lin"),
                        rotary=False,
                    ),
                ),
                feed_forward_norm=layer_norm(layer, "output_layer_norm"),
                feed_forward=FeedForward(
                    activation=activation_of(config.activation),
                    up=linear(layer, "ffn.lin1"),
                    down=linear(layer, "ffn.lin2"),
                ),
            )
            for layer in base.get_submodule("transformer.layer").children()
        ],
        heads=config.n_heads,
        head_dim=config.dim // config.n_heads,
        positions=linear(base, "embeddings.position_embeddings").weight[:window],
        embedding_norm=layer_norm(base, "embeddings.LayerNorm"),
    )
    return stack, None


#: By `model_type`.
CLASSIFIER_FAMILIES: dict[str, _Family] = {
    "bert": _Family(_bert, "bert.pooler.dense", "tanh", "classifier"),
    "distilbert": _Family(_distilbert, "pre_classifier", "relu", "classifier"),
    "roberta": _Family(_roberta, "classifier.dense", "tanh", "classifier.out_proj"),
}
