"""Names the matrices that a decoder's graph stores; writes nothing."""

from __future__ import annotations

from escalade.export.blueprints import Block, Decoder, Linear
from escalade.export.onnx.graphs.layers import stack
from escalade.export.onnx.storing import EMBEDDING, HEAD, Storage, slices_of


def matrices_in(model: Decoder) -> int:
    """How many matrices its graph stores: those that are fed the same are one."""
    in_block = 4  # queries, keys and values; attention's output; gate and up; down
    return in_block * len(model.blocks) + 1 + (not model.tied)


def matrices_of(model: Decoder, storage: Storage) -> dict[str, Linear]:
    """Every matrix that the graph stores, by its name there."""
    found = _parts(storage, EMBEDDING, model.head if model.tied else Linear(model.embedding))
    for index, block in enumerate(model.blocks):
        found |= matrices_of_block(index, block)
    return found if model.tied else {**found, **_parts(storage, HEAD, model.head)}


def matrices_of_block(index: int, block: Block) -> dict[str, Linear]:
    """Those of one block: what is fed the same is one."""
    name, attention, fed = f"layers.{index}", block.attention, block.feed_forward
    up = (
        {f"{name}.up": fed.up} if fed.gate is None else {f"{name}.gate_up": stack(fed.gate, fed.up)}
    )
    return {
        f"{name}.attention.qkv": stack(attention.query, attention.key, attention.value),
        f"{name}.attention.output": attention.output,
        **up,
        f"{name}.down": fed.down,
    }


def _parts(storage: Storage, name: str, table: Linear) -> dict[str, Linear]:
    firsts = storage.slices.get(name)
    if not firsts:
        return {name: table}
    return {own: table.rows(rows) for own, rows in slices_of(name, firsts, len(table.weight))}
