"""An encoder in two: what does not learn, and what does; knows no text and no step."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from escalade.training.errors import RecipeError

# A product and a sum for each weight and token.
_FLOPS_PER_WEIGHT = 2.0


class _Given(nn.Module):
    """Stands for embeddings and lower layers whose output is there."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.empty(0)

    def forward(self, *_: object, **__: object) -> Tensor:
        return self.hidden


class Split:
    """An encoder in two: what does not learn, and what does."""

    def __init__(self, model: Any, path: Path, frozen_layers: int) -> None:  # noqa: ANN401 - any encoder
        """Freeze embeddings and lower layers.

        Args:
            model: as `load_encoder` loads it.
            path: what messages call it.
            frozen_layers: so many.

        Raises:
            RecipeError: it has too few layers.
        """
        self.base = model.base_model
        # DistilBERT calls its layers otherwise.
        self._stack: Any = getattr(self.base, "encoder", None) or self.base.transformer
        layers = self._stack.layer
        count = len(layers)
        if frozen_layers > count:
            raise RecipeError(
                f"encoder {path}: frozen_layers must be in 0..{count}, got {frozen_layers}"
            )
        self._whole, self._embeddings = layers, self.base.embeddings
        self._lower_layers = nn.ModuleList(layers[:frozen_layers])
        self._upper_layers = nn.ModuleList(layers[frozen_layers:])
        self._given = _Given()
        #: Whether nothing but the head learns.
        self.all_frozen = frozen_layers == count
        for part in (self._embeddings, self._lower_layers):
            part.requires_grad_(False)
        #: By their names, in the whole model.
        self.learning = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        self._width = int(model.config.hidden_size)
        in_layers = {id(p) for p in layers.parameters()}
        self._heads = {n for n, p in self.learning if id(p) not in in_layers}
        self._head_size = sum(p.numel() for n, p in self.learning if n in self._heads)

    def is_head(self, name: str) -> bool:
        """Whether a parameter is above all layers."""
        return name in self._heads

    @contextmanager
    def lower(self) -> Iterator[None]:
        """While the block runs, the base model ends below what learns."""
        training = self.base.training
        self.base.train(False)
        self._stack.layer = self._lower_layers
        try:
            yield
        finally:
            self._stack.layer = self._whole
            self.base.train(training)

    @contextmanager
    def upper(self, hidden: Tensor) -> Iterator[Tensor]:
        """While the block runs, the model begins with what learns, of `(B, T, hidden)`."""
        self._given.hidden = hidden
        self._stack.layer, self.base.embeddings = self._upper_layers, self._given
        try:
            yield hidden
        finally:
            self._stack.layer, self.base.embeddings = self._whole, self._embeddings

    def lower_flops(self, tokens: int) -> float:
        """Of a text of so many tokens."""
        return self._layer_flops(self._lower_layers, tokens)

    def upper_flops(self, tokens: int) -> float:
        """Of a text of so many tokens, forward; the head reads one of them."""
        head = _FLOPS_PER_WEIGHT * float(self._head_size)
        return self._layer_flops(self._upper_layers, tokens) + head

    def _layer_flops(self, layers: nn.ModuleList, tokens: int) -> float:
        weights = sum(p.numel() for p in layers.parameters())
        # Scores and their sums: two products of (tokens, width) with (width, tokens) a layer.
        attention = 2 * len(layers) * tokens * tokens * self._width
        return float(_FLOPS_PER_WEIGHT * (weights * tokens + attention))
