"""Makes rotary angles as wide as the runtime's kernel wants them; knows no family, no graph."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from escalade.checkpoint import CheckpointError, aligned_angles
from escalade.export.blueprints.blueprint import Block, Decoder, Linear, Norm
from escalade.export.errors import ModelError


def align_rotary(model: Decoder) -> Decoder:
    """The same model with a number of angles that is a multiple of 8.

    Channels of queries and keys may be put in another order, if in the same one: their
    products stay. Angles of zero are added, for channels that are not rotated.

    Raises:
        ModelError: heads are too narrow for it.
    """
    if model.cosines is None or model.sines is None:
        return model
    half = model.cosines.shape[1]
    try:
        wide = aligned_angles(half, model.head_dim)
    except CheckpointError as error:
        raise ModelError(str(error)) from error
    if wide == half:
        return model
    still = list(range(2 * half, model.head_dim))
    extra = wide - half
    order = torch.tensor(
        [
            *range(half),
            *still[:extra],
            *range(half, 2 * half),
            *still[extra : 2 * extra],
            *still[2 * extra :],
        ]
    )
    ones = torch.ones(len(model.cosines), extra)
    return dataclasses.replace(
        model,
        blocks=[_reordered(block, order) for block in model.blocks],
        cosines=torch.cat([model.cosines, ones], dim=1),
        sines=torch.cat([model.sines, 0 * ones], dim=1),
    )


def _reordered(block: Block, order: Tensor) -> Block:
    attention = block.attention
    if not attention.rotary:
        return block
    changed = dataclasses.replace(
        attention,
        query=_rows(attention.query, order),
        key=_rows(attention.key, order),
        query_norm=_norm(attention.query_norm, order),
        key_norm=_norm(attention.key_norm, order),
    )
    return dataclasses.replace(block, attention=changed)


def _rows(linear: Linear, order: Tensor) -> Linear:
    heads = torch.arange(len(linear.weight)).view(-1, len(order))
    return linear.rows(heads[:, order].reshape(-1))


def _norm(norm: Norm | None, order: Tensor) -> Norm | None:
    return None if norm is None else dataclasses.replace(norm, weight=norm.weight[order])
