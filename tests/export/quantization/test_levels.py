"""Scales of few numbers: near enough, kept by every step of rounding, and read from a byte each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from escalade.edge.runtimes.onnx.session import joined_planes
from escalade.export.blueprints import Linear
from escalade.export.kept import Kept
from escalade.export.onnx.storing.rounding import round_matrix
from escalade.export.onnx.storing.storage import Storage
from escalade.export.onnx.writer import GraphWriter
from escalade.export.quantization import (
    Choice,
    Hessian,
    damped,
    gptq_round,
    levels_for,
    refine,
    round_to_nearest,
)
from escalade.export.quantization.levels import (
    LEVELS,
    TABLE_BYTES,
    Ladder,
    levels_of,
    nearest_level,
)


def random(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(
    low=st.integers(-30, 14), octaves=st.floats(0, 6), seed=st.integers(0, 99), signed=st.booleans()
)
@example(low=0, octaves=2.480728818621608, seed=98, signed=False)  # halfway but for a bit
def test_levels_rise_and_one_is_near_every_scale(
    low: int, octaves: float, seed: int, signed: bool
) -> None:
    draw = torch.Generator().manual_seed(seed)
    spans = 2.0**low * 2 ** (octaves * torch.rand(5, 7, generator=draw))
    if signed:
        spans = torch.where(torch.rand(5, 7, generator=draw) < 0.5, -spans, spans)
    levels = levels_of(spans, signed=signed)
    assert 1 < len(levels) <= LEVELS
    assert bool((levels[1:] > levels[:-1]).all())
    assert bool((levels != 0).all())
    for scales in (spans, 0.55 * spans, 1.05 * spans):
        near = nearest_level(scales, levels)
        assert bool(((near - scales).abs() < 0.04 * scales.abs()).all())
        every = (levels - scales[..., None]).abs()
        assert torch.equal((near - scales).abs(), every.amin(-1))
        found = Ladder.of(levels).near(scales)
        assert bool(((found - scales).abs() <= every.amin(-1) + 1e-5 * scales.abs()).all())
        assert bool(((found - nearest_level(found, levels)).abs() <= 1e-5 * found.abs()).all())


def test_of_zeros_and_of_an_outlier_levels_are_numbers() -> None:
    outlier = random(0, 40, 64)
    outlier[3, 5] = 1e4
    for weight in (torch.zeros(40, 64), outlier):
        for zeros in (False, True):
            levels = levels_for(weight, 4, 32, zeros=zeros)
            assert bool(levels.isfinite().all() & (levels != 0).all())
            rounded = gptq_round(weight, torch.eye(64), 4, 32, zeros=zeros, levels=levels)
            off = (rounded.weights(32) - weight).abs()
            assert float(off[:, 32:].max()) < 2e4 / 256  # all scales reach down to that
    assert not round_to_nearest(torch.zeros(4, 32), 4, 32, levels=levels).integers.any()


@pytest.mark.parametrize(
    ("bits", "zeros"),
    [(2, True), (3, True), (4, True), (4, False), (5, False), (6, False), (8, False)],
)
def test_rounding_keeps_to_levels_and_loses_little_by_them(bits: int, zeros: bool) -> None:
    weight = random(1, 64, 192) * (0.3 * random(2, 64, 1)).exp()
    inputs = random(3, 400, 192) @ random(4, 192, 192)
    hessian = inputs.T @ inputs
    levels = levels_for(weight, bits, 32, zeros=zeros)

    def lost(levels: torch.Tensor | None) -> float:
        rounded = gptq_round(weight, hessian, bits, 32, zeros=zeros, levels=levels)
        moved = refine(weight, damped(hessian), rounded, bits, 32, levels=levels)
        for one in (rounded, moved):
            assert levels is None or set(one.grid.scales.flatten().tolist()) <= set(levels.tolist())
        off = moved.weights(32) - weight
        return float((off @ damped(hessian) * off).sum())

    assert lost(levels) < 1.1 * lost(None)


@pytest.mark.parametrize("bits", [3, 4, 5, 6, 8])
@pytest.mark.parametrize("activation_bits", [8, 32])
@pytest.mark.parametrize("by_text", [False, True])
def test_the_runtime_reads_what_was_rounded(
    bits: int, activation_bits: int, by_text: bool, tmp_path: Path
) -> None:
    rows, columns = 640, 64
    hessian = None
    if by_text:
        hessian = Hessian(columns)
        hessian.add(random(5, 200, columns))
    table = random(6, rows, columns)
    module = Linear(table, hessian=hessian)
    choice = Choice(bits, 32)
    assert choice.few_scales(rows, columns)
    assert not choice.few_scales(rows // 4, columns)
    storage = Storage(
        scheme="int4",
        block_size=32,
        choices={"embedding": choice},
        activation_bits=activation_bits,
    )
    with GraphWriter(tmp_path / "model.onnx", "tied") as graph:
        ids = graph.input("ids", np.int64, [1, "n"])
        x = graph.input("x", np.float32, [1, "m", columns])
        found = storage.embedding(graph, "embedding", table, ids, module)
        graph.output("rows", found, np.float32, [1, "n", columns])
        product = storage.linear(graph, "embedding", module, x)
        graph.output("logits", product, np.float32, [1, "m", rows])
        assert graph.dtype("embedding.scales") == np.uint8
    written = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert written < choice.bytes_of(rows, columns) + TABLE_BYTES + 2048
    options, path = ort.SessionOptions(), tmp_path / "model.onnx"
    with joined_planes(options, path, graph.planes):
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    basis = np.eye(columns, dtype=np.float32)[None]
    looked_up, logits = session.run(None, {"ids": np.arange(rows)[None], "x": basis})
    step = 2 * float(table.abs().max()) / 2**bits
    assert np.abs(looked_up[0] - table.numpy()).max() < 2 * step
    assert np.abs(looked_up[0] - logits[0].T).max() < 0.02


def test_a_large_matrix_is_rounded_in_parts_as_if_each_were_alone() -> None:
    rows, columns, choice = 4100, 32, Choice(4, 16)
    weight, inputs = random(1, rows, columns), random(2, 64, columns)
    hessian = Hessian(columns)
    hessian.add(inputs)
    table = Linear(weight, hessian=hessian)
    whole = round_matrix(Kept(), "table", "table", table, choice, few_scales=True)
    levels = levels_for(weight, *choice, zeros=True)
    for part in (slice(0, 2048), slice(2048, 4096), slice(4096, rows)):
        alone = gptq_round(weight[part], hessian.whole(), *choice, zeros=True, levels=levels)
        alone = refine(weight[part], damped(hessian.whole()), alone, *choice, levels=levels)
        assert torch.equal(whole.integers[part], alone.integers)
        assert torch.equal(whole.grid.scales[part], alone.grid.scales)
