"""Tuning of all that is stored together: what it stores, that it is no worse."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch

from escalade.edge.runtimes import (
    ATTENTION_MASK,
    INPUT_IDS,
    LOGITS,
    LOGITS_TO_KEEP,
    PAST_PREFIX,
)
from escalade.export.artifact.artifact import export_artifact
from escalade.export.blueprints import Decoder, Linear, align_rotary, decoder_of
from escalade.export.held.lost import measure_lost
from escalade.export.kept import Kept
from escalade.export.model import load_model
from escalade.export.onnx.graphs import matrices_of
from escalade.export.onnx.graphs.decoder import write_decoder
from escalade.export.onnx.program import storage_of
from escalade.export.onnx.storing.storage import Storage
from escalade.export.onnx.tuned import tables_of, tune_rounded
from escalade.export.onnx.writer import GraphWriter
from escalade.export.quantization import Answered
from escalade.export.settings import Settings
from escalade.export.text import RoundingText
from escalade.export.text.calibration import calibrate
from escalade.export.tuning.reading import Reader, norms_of

_WINDOW, _END = 48, 2
_WORDS = ("apple", "bear", "cedar", "delta", "ember", "fox", "grape", "hazel", "iris", "jade")
PROMPTS = [f"{task}: {word}" for task in ("g2p", "stress", "syllables") for word in _WORDS]
UNSEEN = [f"g2p: {word}" for word in ("kiwi", "lemon", "mango", "olive", "pear")]


@pytest.fixture(scope="module")
def read(tiny_model_dir: Path) -> tuple[Decoder, Sequence[Answered]]:
    """A decoder with hessians, and what it answers."""
    model = load_model(tiny_model_dir)
    _, answers = calibrate(
        model, tiny_model_dir, "int4", RoundingText(PROMPTS), _WINDOW, lambda line: None,
        end_ids=[_END], kept=Kept(tiny_model_dir.parent / "tuned"), hangs_on={},
    )  # fmt: skip
    assert len(answers) == len(PROMPTS)
    return align_rotary(decoder_of(model, _WINDOW)), answers


def tuned_of(before: Decoder, answers: Sequence[Answered]) -> tuple[Decoder, Storage]:
    """A decoder as it is tuned, and how its matrices are stored."""
    return tune_rounded(
        before, storage_of(Settings(quantize="int4", activation_bits=32)), answers, "decoder", print
    )


def test_the_program_has_what_was_tuned(
    read: tuple[Decoder, Sequence[Answered]], tmp_path: Path
) -> None:
    before, answers = read
    model, storage = tuned_of(before, answers)
    assert storage.tuned
    assert not torch.equal(model.final_norm.weight, before.final_norm.weight)
    for one in storage.known.values():
        scales = one.grid.scales
        assert torch.equal(scales, scales.half().float())
    exact = matrices_of(model, storage)
    matrices = {
        name: Linear(one.weights(storage.choice_of(name).block_size), exact[name].bias)
        for name, one in storage.known.items()
    }
    reader = Reader(model, matrices, tables_of(matrices), norms_of(model))
    with GraphWriter(tmp_path / "model.onnx", "decoder") as graph:
        write_decoder(graph, model, storage)
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    empty = np.zeros((1, model.kv_heads, 0, model.head_dim), np.float32)
    feeds: dict[str, Any] = {
        one.name: empty for one in session.get_inputs() if one.name.startswith(PAST_PREFIX)
    }
    ids = np.arange(4, 24)[None]
    feeds |= {INPUT_IDS: ids, ATTENTION_MASK: np.ones_like(ids), LOGITS_TO_KEEP: np.arange(20)}
    (found,) = session.run([LOGITS], feeds)
    with torch.no_grad():
        every = torch.ones(ids.shape, dtype=torch.bool)
        want = reader.logits(torch.from_numpy(ids), every).numpy()
    assert np.abs(found[0] - want).max() < 1e-4 * np.abs(want).max()


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads_gives_the_same(
    threads: int, read: tuple[Decoder, Sequence[Answered]]
) -> None:
    before, answers = read
    model, storage = tuned_of(before, answers)
    usual = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        other, again = tuned_of(before, answers)
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(usual)
    assert torch.equal(model.final_norm.weight, other.final_norm.weight)
    for name, one in storage.known.items():
        assert torch.equal(one.integers, again.known[name].integers)
        assert torch.equal(one.grid.scales, again.known[name].grid.scales)


def test_what_is_no_better_where_it_is_held_out_is_not_taken(
    read: tuple[Decoder, Sequence[Answered]], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, answers = read
    model, storage = tuned_of(before, answers[:1])  # none to hold out beside it
    assert model is before
    assert not storage.tuned
    monkeypatch.setattr("escalade.export.tuning.together._SCALE_RATE", 3.0)
    model, storage = tuned_of(before, answers)  # far past the best
    assert model is before
    assert not storage.tuned
    rounded = storage.rounded(
        "decoder", "layers.0.down", before.blocks[0].feed_forward.down, looked_up=False
    )
    fresh = storage_of(Settings(quantize="int4", activation_bits=32)).rounded(
        "decoder", "layers.0.down", before.blocks[0].feed_forward.down, looked_up=False
    )
    assert torch.equal(rounded.integers, fresh.integers)
    assert torch.equal(rounded.grid.scales, fresh.grid.scales)


@pytest.mark.parametrize("bits", [None, pytest.param(8.0, marks=pytest.mark.slow)])
def test_tuned_through_export_loses_less(
    bits: float | None, tiny_model_dir: Path, tmp_path: Path
) -> None:
    lost = {}
    for name in ("plain", "tuned"):
        manifest = export_artifact(
            tiny_model_dir, tmp_path / name, quantize="int4", bits=bits,
            rounded_by=RoundingText(PROMPTS), tuned=name != "plain", golden_prompts=PROMPTS[:2],
        )  # fmt: skip
        assert ("tuned together" in manifest.quantization.detail) == (name != "plain")
        measured = measure_lost(tmp_path / name, tiny_model_dir, UNSEEN)
        assert measured is not None
        lost[name] = measured.mean_kl
    assert lost["tuned"] < lost["plain"]


def test_a_model_that_is_not_small_is_left_as_it_is(
    tiny_model_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("escalade.export.text.calibration.TUNED_PARAMETERS", 50_000)
    _, answers = calibrate(
        load_model(tiny_model_dir), tiny_model_dir, "int4", RoundingText(PROMPTS[:6]), _WINDOW,
        print, end_ids=[_END], kept=Kept(tmp_path / "a"), hangs_on={},
    )  # fmt: skip
    assert not answers
