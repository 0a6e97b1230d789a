"""Tables of words in slices: what is read is what is stored, wherever they are cut; prices."""

from __future__ import annotations

import itertools
import random
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from escalade.edge.runtimes.onnx.session import joined_planes
from escalade.export.blueprints import Linear, decoder_of
from escalade.export.model import load_model
from escalade.export.onnx.choosing.pricing import prices_of_table
from escalade.export.onnx.choosing.survey import Survey
from escalade.export.onnx.graphs.decoder import write_decoder
from escalade.export.onnx.storing.slices import slice_name, slices_in, table_of
from escalade.export.onnx.storing.storage import Storage
from escalade.export.onnx.writer import GraphWriter
from escalade.export.quantization import Choice, Hessian

ROWS, COLUMNS = 30, 80
BUNDLED = Path(__file__).parents[3] / "training/checkpoints/small-cat-xent"


def table_of_words() -> torch.Tensor:
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1))


def test_names_of_slices_go_there_and_back() -> None:
    names = [slice_name("embedding", first) for first in (768, 0)]
    assert slices_in([*names, "layers.0.down", "head"]) == {"embedding": [0, 768]}
    assert table_of(names[0]) == "embedding"
    assert table_of("layers.0.down") is None


@pytest.mark.parametrize("firsts", [[0], [0, 1], [0, 29], [0, 10, 11, 20]], ids=str)
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("activation_bits", [8, 32])
def test_a_sliced_table_and_its_head_read_the_same_bytes(
    firsts: list[int], with_bias: bool, activation_bits: int, tmp_path: Path
) -> None:
    table = table_of_words()
    kinds = itertools.cycle([Choice(8, 32), Choice(4, 16), Choice(5, 64), Choice(3, 32)])
    choices = {
        slice_name("embedding", first): choice for first, choice in zip(firsts, kinds, strict=False)
    }
    storage = Storage(
        scheme="int4",
        block_size=32,
        choices=choices,
        slices=slices_in(choices),
        activation_bits=activation_bits,
    )
    bias = torch.arange(ROWS) / 10 if with_bias else None
    path = tmp_path / "model.onnx"
    with GraphWriter(path, "tied") as graph:
        ids = graph.input("ids", np.int64, [1, "n"])
        x = graph.input("x", np.float32, [1, "m", COLUMNS])
        rows = storage.embedding(graph, "embedding", table, ids)
        graph.output("rows", rows, np.float32, [1, "n", COLUMNS])
        product = storage.linear(graph, "embedding", Linear(table, bias), x)
        graph.output("logits", product, np.float32, [1, "m", ROWS])
    options = ort.SessionOptions()
    with joined_planes(options, path, graph.planes):
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    basis = np.eye(COLUMNS, dtype=np.float32)[None]
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2)).numpy()
    found, logits = session.run(None, {"ids": order[None], "x": basis})
    shift = 0 if bias is None else bias.numpy()[order]
    assert np.abs(found[0] - (logits[0].T[order].T - shift).T).max() < 0.02
    off = np.abs(found[0] - table.numpy()[order]).max(axis=1)
    ends = [*firsts, ROWS]
    for (first, last), choice in zip(itertools.pairwise(ends), choices.values(), strict=True):
        inside = (order >= first) & (order < last)
        step = 2 * float(table.abs().max()) / 2**choice.bits
        assert off[inside].max() < step
        assert off[inside].max() > step / 8  # it is stored in no more bits


def test_a_slice_costs_what_answers_hang_on_its_words() -> None:
    table = table_of_words()
    inputs = torch.randn(200, COLUMNS, generator=torch.Generator().manual_seed(3))
    said = torch.zeros(ROWS)
    said[:10] = 1.0
    slices = [slice(0, 10), slice(10, 20), slice(20, 30)]
    choices = [Choice(4, 32), Choice(8, 32)]
    hessian = Hessian(COLUMNS)
    hessian.add(inputs)
    linear = Linear(table, hessian=hessian, curvature=said)
    first, second, third = prices_of_table(
        "head", linear, slices, choices, looked_up=None, said=said, rounds_inputs=False
    )
    assert first[0] > 5 * second[0] > 0  # the rest counts a quarter of the mean
    assert second[0] == pytest.approx(float(third[0]), rel=0.5)
    assert (first > 0).all()
    assert first[1] < first[0] / 50
    nobody = Linear(table)
    unread = prices_of_table(
        "head", nobody, slices, choices, looked_up=None, said=None, rounds_inputs=False
    )
    assert not unread.any()
    looked = prices_of_table(
        "e", nobody, slices, choices, looked_up=torch.ones(COLUMNS), said=None, rounds_inputs=False
    )
    whole = prices_of_table(
        "e",
        nobody,
        [slice(0, 30)],
        choices,
        looked_up=torch.ones(COLUMNS),
        said=None,
        rounds_inputs=False,
    )
    assert looked.sum(0)[0] == pytest.approx(float(whole[0, 0]), rel=0.1)


@pytest.mark.parametrize("seed", range(4))
def test_all_bytes_of_a_program_are_counted(seed: int, tmp_path: Path) -> None:
    model = decoder_of(load_model(BUNDLED), 96)
    survey = Survey(scheme="int4", block_size=32, planes=True, model=model)
    beside, draw = survey.take(), random.Random(seed)
    # Without text nothing has zero points, which 2 to 4 bits are counted with.
    chosen = {
        name: draw.choice([offer for offer in offers if not offer.choice.zeros])
        for name, offers in survey.offers.items()
    }
    choices = {entry.name: Choice(entry.bits, entry.block_size) for entry in survey.entries(chosen)}
    storage = Storage(scheme="int4", block_size=32, choices=choices, slices=slices_in(choices))
    with GraphWriter(tmp_path / "model.onnx", "decoder") as graph:
        write_decoder(graph, model, storage)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    counted = beside + survey.bytes_of(chosen)
    assert 0.97 * counted < size <= counted
