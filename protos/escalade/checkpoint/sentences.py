"""An encoder whose classes are read from the mean of its tokens; knows no text.

Kept as sentence-transformers keeps such a pipeline: transformers' folder of the encoder, and beside
it `modules.json`, which names what comes after: `Pooling`, and `Dense` for the classes. A sentence
encoder without `Dense` has no classes yet; what it was trained with after its mean, such as
`Normalize`, is nothing to a new head.
"""

from __future__ import annotations

import json
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput

from escalade.checkpoint.errors import CheckpointError, first_line
from escalade.checkpoint.files import CONFIG_NAME, read_object

#: What sentence-transformers reads first.
MODULES_NAME = "modules.json"
_PREFIX = "sentence_transformers.models."
_SETTINGS_NAME = "sentence_bert_config.json"
_POOLING, _DENSE = "1_Pooling", "2_Dense"
_IDENTITY = "torch.nn.modules.linear.Identity"
_WEIGHTS_NAME = "model.safetensors"


class MeanClassifier(PreTrainedModel):
    """An encoder, and a linear head on the mean of its tokens."""

    base_model_prefix = "encoder"
    _supports_sdpa = True

    def __init__(self, encoder: PreTrainedModel, classes: int) -> None:
        """Give an encoder a head of random weights.

        Args:
            encoder: of tokens; its own pooling is not read, and is dropped.
            classes: K.
        """
        super().__init__(encoder.config)
        self.encoder = encoder
        if getattr(encoder, "pooler", None) is not None:
            encoder.register_module("pooler", None)
        self.classifier = nn.Linear(encoder.config.hidden_size, classes)

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Logits `(B, K)` of ids or embeddings `(B, T, ...)`; the mask `(B, T)` is 0 at padding."""
        hidden = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds
        ).last_hidden_state
        if attention_mask is None:
            mean = hidden.mean(1)
        else:
            counted = attention_mask[..., None].to(hidden.dtype)
            mean = (hidden * counted).sum(1) / counted.sum(1)
        return SequenceClassifierOutput(logits=self.classifier(mean))

    def save_pretrained(self, folder: Path) -> None:  # type: ignore[override]  # no other option
        """Write the folder, which sentence-transformers reads too."""
        self.encoder.save_pretrained(folder)
        classes, width = self.classifier.weight.shape
        _write(
            folder / MODULES_NAME,
            [
                {"idx": index, "name": str(index), "path": path, "type": _PREFIX + kind}
                for index, (path, kind) in enumerate(
                    (("", "Transformer"), (_POOLING, "Pooling"), (_DENSE, "Dense"))
                )
            ],
        )
        _write(
            folder / _POOLING / CONFIG_NAME,
            {"word_embedding_dimension": width, "pooling_mode_mean_tokens": True},
        )
        _write(
            folder / _DENSE / CONFIG_NAME,
            {
                "in_features": width,
                "out_features": classes,
                "bias": True,
                "activation_function": _IDENTITY,
            },
        )
        weights = {f"linear.{name}": value for name, value in self.classifier.state_dict().items()}
        safetensors.torch.save_file(weights, folder / _DENSE / _WEIGHTS_NAME)


def reads_mean(folder: Path) -> bool:
    """Whether a folder is of sentence-transformers, with classes or without."""
    return (folder / MODULES_NAME).is_file()


def has_classes(folder: Path) -> bool:
    """Whether the mean has a head already.

    Raises:
        CheckpointError: `modules.json` cannot be read.
    """
    return any(kind == "Dense" for kind, _ in _modules(folder))


def check_mean(folder: Path) -> None:
    """Refuse a pooling that is not the mean of all tokens.

    Raises:
        CheckpointError: it is another, or the files cannot be read.
    """
    modules = _modules(folder)
    kinds = [kind for kind, _ in modules]
    if kinds[:2] != ["Transformer", "Pooling"] or modules[0][1] != folder:
        raise CheckpointError(
            f"{folder / MODULES_NAME}: must begin with Transformer, in the folder itself, and"
            f" Pooling, got {', '.join(kinds) or 'none'}"
        )
    config = read_object(modules[1][1] / CONFIG_NAME)
    modes = [name for name, on in config.items() if name.startswith("pooling_mode_") and on]
    # The second is how its release 6 writes it.
    if modes != ["pooling_mode_mean_tokens"] and (modes or config.get("pooling_mode") != "mean"):
        raise CheckpointError(
            f"{modules[1][1] / CONFIG_NAME}: pooling must be the mean of tokens, got"
            f" {', '.join(modes) or config.get('pooling_mode')}"
        )


def check_sentences(folder: Path) -> None:
    """Refuse a folder that gives anything but the mean of tokens, at its own length or at 1.

    Raises:
        CheckpointError: see `check_mean`; or more comes after the mean.
    """
    check_mean(folder)
    after = [kind for kind, _ in _modules(folder)[2:]]
    if after not in ([], ["Normalize"]):
        raise CheckpointError(
            f"{folder / MODULES_NAME}: after Pooling may come Normalize, got {', '.join(after)}"
        )


def longest_sentence(folder: Path) -> int | None:
    """Tokens at which sentence-transformers cuts a text; None where the folder does not say.

    Raises:
        CheckpointError: it says something else than a number.
    """
    path = folder / _SETTINGS_NAME
    if not path.is_file():
        return None
    length = read_object(path).get("max_seq_length")
    if length is None or (isinstance(length, int) and length >= 1):
        return length
    raise CheckpointError(f"{path}: max_seq_length must be at least 1, got {str(length)[:24]}")


def load_head(folder: Path, classifier: nn.Linear) -> None:
    """Read the head of a folder.

    Args:
        folder: one that `has_classes`.
        classifier: takes its weights.

    Raises:
        CheckpointError: there is more than a linear head after the mean, or it does not fit.
    """
    after = _modules(folder)[2:]
    if [kind for kind, _ in after] != ["Dense"]:
        raise CheckpointError(
            f"{folder / MODULES_NAME}: after Pooling must come one Dense, for the classes, got"
            f" {', '.join(kind for kind, _ in after) or 'none'}"
        )
    head = after[0][1]
    config = read_object(head / CONFIG_NAME)
    activation = config.get("activation_function")
    if config.get("use_residual"):
        raise CheckpointError(f"{head / CONFIG_NAME}: use_residual must be false, got true")
    if activation != _IDENTITY:
        raise CheckpointError(
            f"{head / CONFIG_NAME}: activation_function must be {_IDENTITY}, got {activation}"
        )
    try:
        weights = safetensors.torch.load_file(head / _WEIGHTS_NAME)
        classifier.load_state_dict(
            {name.removeprefix("linear."): value.float() for name, value in weights.items()}
        )
    except (OSError, RuntimeError, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{head / _WEIGHTS_NAME}: {first_line(error)}") from error
    if not all(bool(torch.isfinite(value).all()) for value in classifier.parameters()):
        raise CheckpointError(f"{head / _WEIGHTS_NAME}: must be finite, holds NaN or infinity")


def _modules(folder: Path) -> list[tuple[str, Path]]:
    """What comes after another: its kind, and its folder."""
    path = folder / MODULES_NAME
    try:
        listed = json.loads(path.read_bytes())
        named = [(str(one["type"]), str(one["path"])) for one in listed]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read: {first_line(error)}") from error
    for kind, place in named:
        # Its later releases name a module in more words.
        if (
            not kind.startswith("sentence_transformers.")
            or Path(place).is_absolute()
            or ".." in place
        ):
            raise CheckpointError(
                f"{path}: modules must be of sentence-transformers and in the folder, got {kind}"
                f" in {place!r}"
            )
    return [(kind.rpartition(".")[2], folder / place) for kind, place in named]


def _write(path: Path, content: object) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + "\n")
