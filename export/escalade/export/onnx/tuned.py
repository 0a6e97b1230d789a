"""Has a small decoder's rounded matrices tuned before they are written; knows no gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from escalade.export.blueprints import Decoder, Norm
from escalade.export.onnx.graphs import matrices_of
from escalade.export.onnx.storing import EMBEDDING, HEAD, Storage
from escalade.export.quantization import Answered, rounded_from, tensors
from escalade.export.tuning import Matrix, Tables, Tuning, norms_of


def tune_rounded(
    model: Decoder,
    storage: Storage,
    texts: Sequence[Answered],
    graph: str,
    progress: Callable[[str], None],
) -> tuple[Decoder, Storage]:
    """Round all matrices, and tune them, and the norms between layers, by what they come to.

    Args:
        model: with hessians.
        storage: how its matrices are kept; its scheme has blocks.
        texts: that end in answers, of which places count; every eighth is held out.
        graph: that is written next: the first part of the names of steps that are kept.
        progress: called with a line now and then.

    Returns:
        The decoder, and a storage that has its matrices rounded: as they were, where the tuned
        lose more in the texts held out.
    """
    matrices = {
        name: Matrix(
            one,
            storage.rounded(graph, name, one, looked_up=name.startswith(EMBEDDING)),
            storage.choice_of(name),
            storage.few_scales(name, one),
        )
        for name, one in matrices_of(model, storage).items()
    }
    rounded = {name: one.rounded for name, one in matrices.items()}
    tuning = Tuning(
        model,
        matrices,
        tables_of(matrices),
        texts,
        rounds_inputs=storage.rounds_inputs,
        progress=progress,
    )
    made = storage.kept.once(f"{graph}.tuned", tuning.made)
    if not made:
        return model, dataclasses.replace(storage, known=rounded)
    found = {
        name: rounded_from({kind: made[f"{name}/{kind}"] for kind in tensors(one)})
        for name, one in rounded.items()
    }
    norms = {
        name: dataclasses.replace(
            norm, weight=made[f"{name}/weight"], bias=made.get(f"{name}/bias")
        )
        for name, norm in norms_of(model).items()
    }
    return _with_norms(model, norms), dataclasses.replace(storage, known=found, tuned=True)


def tables_of(names: Mapping[str, object]) -> Tables:
    """Which of `matrices_of` are looked up in; of a table in slices there are several."""
    looked_up = [name for name in names if name.startswith(EMBEDDING)]
    return Tables(looked_up, [name for name in names if name.startswith(HEAD)] or looked_up)


def _with_norms(model: Decoder, norms: Mapping[str, Norm]) -> Decoder:
    blocks = [
        dataclasses.replace(
            block,
            attention_norm=norms[f"layers.{index}.attention_norm"],
            feed_forward_norm=norms[f"layers.{index}.feed_forward_norm"],
        )
        for index, block in enumerate(model.blocks)
    ]
    return dataclasses.replace(model, blocks=blocks, final_norm=norms["final_norm"])
