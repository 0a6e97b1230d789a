"""From a torch model to ONNX programs in a folder; knows no artifact."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec
from transformers import PreTrainedModel

from escalade.edge.artifact import BudgetEntry, QuantizationEntry, Scheme
from escalade.export.blueprints import (
    Classifier,
    Decoder,
    align_rotary,
    decoder_of,
    encoder_decoder_of,
)
from escalade.export.kept import Kept
from escalade.export.memory import drop_pages, give_back
from escalade.export.onnx.choosing import budget_of
from escalade.export.onnx.graphs import (
    matrices_in,
    write_classifier,
    write_decoder,
    write_encoder_decoder,
)
from escalade.export.onnx.storing import Storage, slices_in
from escalade.export.onnx.tuned import tune_rounded
from escalade.export.onnx.writer import PROGRAM_NAME, GraphWriter
from escalade.export.quantization import Answered, Choice, has_hessians
from escalade.export.settings import Settings
from escalade.export.text import BY_GPTQ

ENCODER_NAME = "encoder.onnx"

_LINES = 10  # of progress, over all matrices


def storage_of(settings: Settings) -> Storage:
    """How matrices are stored that were not chosen one by one."""
    return Storage(
        scheme=settings.quantize,
        block_size=settings.block_size_or_usual,
        head_bits=settings.head_bits_or_usual,
        activation_bits=settings.activation_bits_or_usual,
    )


def export_onnx(
    model: PreTrainedModel,
    out: Path,
    *,
    window: int,
    settings: Settings,
    tuned_by: Sequence[Answered] = (),
    kept: Kept | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> QuantizationEntry:
    """Write `model.onnx`, of an encoder-decoder `encoder.onnx` too, and their data files.

    Args:
        model: in float32, in eval mode, on the CPU; a decoder's hessians go as it is written.
        out: an existing folder.
        window: longest prompt plus response, in tokens.
        settings: of a program for ONNX Runtime; with a budget the model is a decoder with
            hessians and curvatures.
        tuned_by: texts that a decoder's rounded matrices are tuned by, all together.
        kept: where matrices that are rounded by text stay until all are.
        progress: called with a line now and then, where that takes its time.

    Returns:
        How the weights are stored, for the manifest.

    Raises:
        ModelError: the model is of a kind that cannot be written.
        OptionError: no program has so few or many bits.
    """
    blueprint, budget = None, None
    if not model.config.is_encoder_decoder:
        blueprint = align_rotary(decoder_of(model, window))
        if settings.bits is not None:
            count = _counted("pricing", matrices_in(blueprint), progress)
            budget = _budget_of(model, blueprint, settings, kept=kept, progress=count)
    give_back()
    drop_pages(model.parameters())
    choices = {
        choice.name: Choice(choice.bits, choice.block_size)
        for choice in (budget.choices if budget else ())
    }
    rounded = 0
    if blueprint is not None and has_hessians(model):
        rounded = len(choices) or matrices_in(blueprint)
    storage = replace(
        storage_of(settings),
        choices=choices,
        slices=slices_in(choices),
        kept=kept or Kept(),
        progress=_counted("rounding", rounded, progress),
    )
    if blueprint is None:
        with (
            GraphWriter(out / PROGRAM_NAME, "decoder") as decoder,
            GraphWriter(out / ENCODER_NAME, "encoder") as encoder,
        ):
            write_encoder_decoder(encoder, decoder, encoder_decoder_of(model, window), storage)
    else:
        with GraphWriter(out / PROGRAM_NAME, "decoder") as graph:
            if tuned_by:
                blueprint, storage = tune_rounded(
                    blueprint, storage, tuned_by, graph.name, progress
                )
            write_decoder(graph, blueprint, storage, last=True)
        if budget and graph.planes:
            budget = msgspec.structs.replace(budget, planes=graph.planes)
    return QuantizationEntry(
        scheme=settings.quantize,
        block_size=None if budget else storage.block_size,
        detail=storage.detail + _rounded_by(model, storage),
        budget=budget or msgspec.UNSET,
    )


def check_budget(model: PreTrainedModel, settings: Settings, window: int) -> None:
    """Refuse a budget that no program of a decoder has, by sizes alone; nothing without a budget.

    Raises:
        OptionError: see `export_onnx`.
    """
    if settings.bits is not None:
        _budget_of(model, decoder_of(model, window), settings, priced=False)


def _budget_of(
    model: PreTrainedModel,
    blueprint: Decoder,
    settings: Settings,
    *,
    priced: bool = True,
    kept: Kept | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> BudgetEntry:
    assert settings.bits is not None  # noqa: S101 - the callers have looked
    return budget_of(
        blueprint,
        settings.bits,
        sum(one.numel() for one in model.parameters()),
        memory_bits=settings.memory_bits,
        activation_bits=settings.activation_bits_or_usual,
        # Our runtimes join them, and no other library does.
        planes=settings.layout is None,
        priced=priced,
        kept=kept,
        progress=progress,
    )


def _rounded_by(model: PreTrainedModel, storage: Storage) -> str:
    if not has_hessians(model):
        return ""
    return ("; tuned together" if storage.tuned else "") + BY_GPTQ


def _counted(doing: str, total: int, progress: Callable[[str], None]) -> Callable[[str], None]:
    """Called with each matrix, says at each tenth how many of all are done; nothing of none."""
    if not total:
        return lambda name: None
    done = itertools.count()

    def count(name: str) -> None:
        at = next(done)
        if at * _LINES // total != (at - 1) * _LINES // total:
            progress(f"{doing} matrix {at + 1} of {total}")

    return count


def export_onnx_classifier(model: Classifier, out: Path, *, scheme: Scheme) -> QuantizationEntry:
    """Write `model.onnx` of an encoder that classifies, or of sentences, and its data file.

    Args:
        model: what it is made of.
        out: an existing folder.
        scheme: how weights are stored.

    Returns:
        How the weights are stored, for the manifest.

    Raises:
        OptionError: the scheme is not for ONNX.
    """
    storage = replace(storage_of(Settings(quantize=scheme)), whole_head=True)
    with GraphWriter(out / PROGRAM_NAME, "classifier") as graph:
        write_classifier(graph, model, storage)
    return QuantizationEntry(scheme=scheme, block_size=storage.block_size, detail=storage.detail)


__all__ = [
    "ENCODER_NAME",
    "PROGRAM_NAME",
    "check_budget",
    "export_onnx",
    "export_onnx_classifier",
]
