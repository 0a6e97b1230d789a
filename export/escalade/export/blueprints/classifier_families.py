"""Reads transformers' encoders that classify into blueprints, family by family; knows no ONNX."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from transformers import PreTrainedModel

from escalade.export.blueprints.blueprint import Attention, FeedForward, Linear
from escalade.export.blueprints.encoder_decoder_blueprint import Layer, NormedAttention, Stack
from escalade.export.blueprints.modules import activation_of, layer_norm, linear


@dataclass(frozen=True)
class Classifier:
    """An encoder, and what makes of its first token's result the logits of classes."""

    #: `(V, H)`
    embedding: Tensor
    encoder: Stack
    #: Before the head: `head(activation(pooler(first token)))`.
    pooler: Linear
    activation: Literal["tanh", "relu"]
    #: `(K, H)`
    head: Linear
    #: A token that takes no position and has the table's first (RoBERTa); None where all count.
    padding_id: int | None = None


def classifier_of(model: PreTrainedModel, window: int) -> Classifier:
    """What an encoder with a classification head is made of.

    Args:
        model: of a family that `escalade.checkpoint.labels_of` takes, in float32, on the CPU. Its
            tensors are referred to, not copied.
        window: positions to keep.
    """
    return CLASSIFIER_FAMILIES[str(model.config.model_type)](model, window)


def _bert(model: PreTrainedModel, window: int) -> Classifier:
    base = model.get_submodule("bert")
    return Classifier(
        embedding=linear(base, "embeddings.word_embeddings").weight,
        encoder=_bert_stack(base, model, 0, window),
        pooler=linear(base, "pooler.dense"),
        activation="tanh",
        head=linear(model, "classifier"),
    )


def _roberta(model: PreTrainedModel, window: int) -> Classifier:
    base, padding = model.get_submodule("roberta"), int(model.config.pad_token_id)
    return Classifier(
        embedding=linear(base, "embeddings.word_embeddings").weight,
        # The first row is the padding's.
        encoder=_bert_stack(base, model, padding, window + 1),
        pooler=linear(model, "classifier.dense"),
        activation="tanh",
        head=linear(model, "classifier.out_proj"),
        padding_id=padding,
    )


def _bert_stack(base: nn.Module, model: PreTrainedModel, first: int, rows: int) -> Stack:
    config = model.config
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


def _distilbert(model: PreTrainedModel, window: int) -> Classifier:
    config, base = model.config, model.get_submodule("distilbert")
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
    return Classifier(
        embedding=linear(base, "embeddings.word_embeddings").weight,
        encoder=stack,
        pooler=linear(model, "pre_classifier"),
        activation="relu",
        head=linear(model, "classifier"),
    )


#: By `model_type`.
CLASSIFIER_FAMILIES: dict[str, Callable[[PreTrainedModel, int], Classifier]] = {
    "bert": _bert,
    "distilbert": _distilbert,
    "roberta": _roberta,
}
