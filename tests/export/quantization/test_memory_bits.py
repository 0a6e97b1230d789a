"""Bits under a budget that bounds what kernels hold too: where they go, and through an export."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog
from transformers import LlamaConfig, LlamaForCausalLM

from escalade.edge.artifact import BudgetEntry, read_manifest
from escalade.edge.generation import Artifact
from escalade.export.artifact import export_artifact
from escalade.export.blueprints import decoder_of
from escalade.export.errors import OptionError
from escalade.export.onnx.choosing.survey import Survey
from escalade.export.onnx.storing import table_of
from escalade.export.quantization import (
    BLOCKS,
    WIDTHS,
    Choice,
    HeldError,
    Offer,
    gather_curvatures,
    spend,
)
from escalade.export.quantization.hessian import gather_hessians_of_text

OFFERS = st.lists(
    st.builds(
        lambda size, lost, held: Offer(Choice(4, 32), size, lost, held),
        st.integers(1, 40),
        st.floats(0, 10),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=4,
)


@given(st.dictionaries(st.text("abc", max_size=2), OFFERS, min_size=1, max_size=4), st.data())
def test_neither_bound_is_passed_and_without_the_second_nothing_changes(
    offers: dict[str, list[Offer]], data: st.DataObject
) -> None:
    fewest = sum(min(offer.bytes for offer in some) for some in offers.values())
    most = data.draw(st.integers(fewest, fewest + 80))
    free = spend(offers, most)
    held = sum(offer.held for offer in free.values())
    assert spend(offers, most, held) == free
    most_held = data.draw(st.integers(1, held))
    try:
        chosen = spend(offers, most, most_held)
    except HeldError as error:
        most_held, least = error.least, most_held
        assert most_held > least
        chosen = spend(offers, most, most_held)
    assert sum(offer.bytes for offer in chosen.values()) <= most
    assert sum(offer.held for offer in chosen.values()) <= most_held


@pytest.mark.parametrize("share", [0.4, 0.6, 0.9])
def test_no_choice_of_many_matrices_loses_much_less(share: float) -> None:
    """Held to a linear program, whose least no choice of whole offers is below."""
    draw = np.random.default_rng(3)
    choices = [Choice(*one) for one in itertools.product(WIDTHS, BLOCKS)]
    offers = {}
    for number in range(60):
        rows, columns = (int(some) * 64 for some in draw.integers(2, 20, 2))
        weighs = draw.lognormal(0, 1.5)
        offers[str(number)] = [
            Offer(
                one,
                one.bytes_of(rows, columns),
                float(weighs * 4.0**-one.bits * one.block_size**0.3),
                one.held_bytes_of(rows, columns, rounds_inputs=True),
            )
            for one in choices
        ]
    every = [offer for some in offers.values() for offer in some]
    least = [sum(min(pick(one) for one in some) for some in offers.values()) for pick in _BOUNDS]
    whole = [sum(max(pick(one) for one in some) for some in offers.values()) for pick in _BOUNDS]
    most, most_held = (int(a + share / 2 * (b - a)) for a, b in zip(least, whole, strict=True))
    chosen = spend(offers, most, most_held)
    lost = sum(offer.lost for offer in chosen.values())
    best = linprog(
        [one.lost for one in every],
        A_ub=[[pick(one) for one in every] for pick in _BOUNDS],
        b_ub=[most, most_held],
        A_eq=np.kron(np.eye(len(offers)), np.ones(len(choices))),
        b_eq=np.ones(len(offers)),
    )
    assert best.success
    assert best.fun - 1e-9 <= lost <= 1.05 * best.fun


_BOUNDS: tuple[Callable[[Offer], int], ...] = (lambda one: one.bytes, lambda one: one.held)


@pytest.mark.parametrize("bits", WIDTHS)
def test_memory_is_what_kernels_lay_out(bits: int) -> None:
    kernel = {2: 2, 3: 4, 4: 4, 5: 8, 6: 8, 8: 8}[bits]
    for size in BLOCKS:
        rounded, exact = (
            8 * Choice(bits, size).held_bytes_of(10, 128, rounds_inputs=some) / (10 * 128)
            for some in (True, False)
        )
        assert rounded == kernel + 64 / size  # a scale and a sum
        assert exact == (32 if kernel == 8 else kernel + 32 / size)


@pytest.mark.parametrize("tied", [True, False])
def test_of_a_table_that_is_looked_up_alone_nothing_is_packed(tied: bool) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=256,
        hidden_size=64,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=tied,
    )
    model = LlamaForCausalLM(config).eval()
    texts = torch.randint(256, (2, 64))
    gather_hessians_of_text(model, texts)
    gather_curvatures(model, texts.tolist())
    survey = Survey(scheme="int4", block_size=16, model=decoder_of(model, 64), planes=True)
    survey.take()
    held = dict.fromkeys(survey.tables, 0)
    for name, offers in survey.offers.items():
        least = min(offer.held for offer in offers)
        if (table := table_of(name)) is None:
            assert least > 0
        else:
            held[table] += least
    assert len(held) == 2 - tied
    assert (held["embedding"] > 0) == tied
    assert all(some > 0 for table, some in held.items() if table != "embedding")


@pytest.mark.usefixtures("little_text")
def test_an_export_holds_no_more_and_loses_more(tiny_model_dir: Path, tmp_path: Path) -> None:
    one, other = (
        export_artifact(
            tiny_model_dir, tmp_path / name, quantize="int4", bits=9.5, memory_bits=most
        )
        for name, most in (("a", 9.5), ("b", None))
    )
    limited, free = one.quantization.budget, other.quantization.budget
    assert limited
    assert free
    assert read_manifest(tmp_path / "a").quantization.budget == limited
    assert (limited.memory_bits, bool(free.memory_bits)) == (9.5, False)
    assert 8 * _held(limited) / one.model.parameters <= 9.5 < 8 * _held(free) / one.model.parameters
    assert _lost(limited) > _lost(free)
    assert Artifact.open(tmp_path / "a").generate([5, 6, 7])


def _held(budget: BudgetEntry) -> int:
    """Bytes; whatever the rows of a matrix, their columns are whole blocks."""
    return sum(
        Choice(one.bits, one.block_size).held_bytes_of(one.weights // 64, 64, rounds_inputs=True)
        for one in budget.choices
    )


def _lost(budget: BudgetEntry) -> float:
    return sum(one.expected_kl for one in budget.choices)


@pytest.mark.usefixtures("little_text")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_bits": 6.0}, r"^--memory-bits goes with --bits, got 6 alone$"),
        ({"bits": 9.5, "memory_bits": 0.0}, "must be above 0 and at most 32, got 0"),
        ({"bits": 9.5, "memory_bits": -1.0}, "must be above 0 and at most 32, got -1"),
        ({"bits": 9.5, "memory_bits": float("nan")}, "must be above 0 and at most 32, got nan"),
        ({"bits": 9.5, "memory_bits": float("inf")}, "must be above 0 and at most 32, got inf"),
        (
            {"bits": 9.5, "memory_bits": 1.0},
            r"^--memory-bits must be at least \d+\.\d\d for this model with --bits 9.5, got 1$",
        ),
    ],
)
def test_what_cannot_be_held_is_one_line(
    options: dict[str, float], message: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    with pytest.raises(OptionError, match=message):
        export_artifact(
            tiny_model_dir,
            tmp_path / "a",
            quantize="int4",
            bits=options.get("bits"),
            memory_bits=options["memory_bits"],
        )
    assert not list(tmp_path.iterdir())
