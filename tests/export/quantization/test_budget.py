"""Bits under a budget: what a choice costs, where it is spent, and through a whole export."""

from __future__ import annotations

import itertools
from pathlib import Path

import onnxruntime as ort
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from transformers import PreTrainedModel

from escalade.edge.artifact import (
    MANIFEST_NAME,
    kernel_bits,
    memory_needed,
    parse_manifest,
    read_manifest,
)
from escalade.edge.errors import ArtifactError
from escalade.edge.generation import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.blueprints import decoder_of
from escalade.export.errors import OptionError
from escalade.export.model import load_model
from escalade.export.onnx.choosing.survey import budget_of
from escalade.export.quantization import (
    BLOCKS,
    CURVATURE,
    WIDTHS,
    Choice,
    Offer,
    damped,
    gather_curvatures,
    gptq_round,
    left_over,
    losses_of,
    pack,
    pack_zeros,
    round_to_nearest,
    spend,
    write_text,
)
from escalade.export.quantization.fitting import fit_grid
from escalade.export.quantization.hessian import HESSIAN, gather_hessians_of_text
from escalade.export.quantization.own_text import draw_tokens
from escalade.export.settings import Layout
from escalade.export.text import RoundingText

OFFERS = st.lists(
    st.tuples(st.integers(1, 40), st.floats(0, 10)).map(lambda one: Offer(Choice(4, 32), *one)),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def measured(tiny_model_dir: Path) -> PreTrainedModel:
    model = load_model(tiny_model_dir)
    text = write_text(model, window=64)
    gather_hessians_of_text(model, text)
    assert gather_curvatures(model, text.tolist()) == text.numel()
    return model


@given(st.dictionaries(st.text("abc", max_size=2), OFFERS, min_size=1, max_size=4), st.data())
def test_no_cheaper_choice_loses_less(offers: dict[str, list[Offer]], data: st.DataObject) -> None:
    fewest = sum(min(offer.bytes for offer in some) for some in offers.values())
    most = data.draw(st.integers(fewest, fewest + 80))
    chosen = spend(offers, most)
    spent = sum(offer.bytes for offer in chosen.values())
    assert spent <= most
    lost = sum(offer.lost for offer in chosen.values())
    every = list(itertools.product(*offers.values()))
    least = {
        budget: min(
            sum(offer.lost for offer in some)
            for some in every
            if sum(offer.bytes for offer in some) <= budget
        )
        for budget in (spent, most)
    }
    # Greedy by gain is off by no more than the step that did not fit.
    step = max((min(some, key=lambda one: one.bytes).lost for some in offers.values()), default=0.0)
    assert least[most] - 1e-9 <= lost <= least[most] + step + 1e-9


def test_a_budget_that_holds_the_best_gives_the_best_and_one_too_small_nothing() -> None:
    offers = {
        "a": [Offer(Choice(2, 32), 10, 5.0), Offer(Choice(4, 32), 20, 1.0)],
        "b": [Offer(Choice(2, 32), 10, 0.5), Offer(Choice(8, 32), 40, 0.1)],
    }
    assert [offer.bytes for offer in spend(offers, 60).values()] == [20, 40]
    assert [offer.bytes for offer in spend(offers, 59).values()] == [20, 10]
    with pytest.raises(ValueError, match="fewest bytes are 20, the budget 19"):
        spend(offers, 19)


@pytest.mark.parametrize("choice", [Choice(*one) for one in itertools.product(WIDTHS, (32, 64))])
def test_bytes_are_those_that_are_written(choice: Choice) -> None:
    weight = torch.randn(7, 80)
    bits, size = choice
    grid = fit_grid(weight, torch.ones(80), bits, size, zeros=choice.zeros)
    planes = pack(round_to_nearest(weight, bits, size), bits, size)
    written = sum(plane.nbytes for plane in planes)
    written += 2 * grid.scales.numel()  # too few for levels
    written += 0 if grid.zeros is None else pack_zeros(grid.zeros, bits).nbytes
    assert choice.bytes_of(*weight.shape) == written


@pytest.mark.parametrize("large", [0.0, 1.0, 1e4])
def test_more_bits_lose_less_and_a_matrix_of_zeros_nothing(large: float) -> None:
    weight = torch.randn(20, 64, generator=torch.Generator().manual_seed(0)) * bool(large)
    weight[3, 5] = large
    choices = [Choice(bits, 32) for bits in WIDTHS]
    lost = losses_of(weight, torch.ones(64), torch.ones(64), torch.ones(20), choices)
    assert lost == sorted(lost, reverse=True)
    assert (lost[0] == 0) == (large == 0)


def test_rounding_inputs_costs_as_much_as_a_block_has_large_ones() -> None:
    """Held to inputs that are rounded as a kernel does it: by their block's largest, to 8 bits."""
    draw = torch.Generator().manual_seed(7)
    weight = torch.randn(20, 128, generator=draw)
    inputs = torch.randn(2000, 128, generator=draw)
    inputs[:, 40] *= 30.0
    squares = inputs.square().mean(0)
    choices = [Choice(8, size) for size in BLOCKS]

    def prices(rounded: Tensor | None) -> list[float]:
        ones = torch.ones(20)
        return losses_of(weight, squares, squares, ones, choices, rounded=rounded)

    for size, whole, rounded in zip(BLOCKS, prices(None), prices(squares), strict=True):
        blocks = inputs.view(len(inputs), -1, size)
        steps = blocks.abs().amax(-1, keepdim=True) / 127
        off = (blocks / steps).round() * steps - blocks
        lost = float((off.view(inputs.shape) @ weight.T).square().mean(0).sum())
        assert (rounded - whole) == pytest.approx(lost, rel=0.5)


@pytest.mark.parametrize("alike", [0.0, 0.9])
@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_price_is_what_gptq_loses(alike: float, bits: int) -> None:
    """Where columns are alike it is a small part of what rounding to nearest loses."""
    draw = torch.Generator().manual_seed(5)
    weight = torch.randn(64, 96, generator=draw)
    inputs = torch.randn(400, 96, generator=draw)
    inputs = alike * inputs[:, :1] + (1 - alike) * inputs
    hessian = inputs.T @ inputs
    curvature = torch.rand(64, generator=draw)
    (price,) = losses_of(
        weight, hessian.diagonal(), left_over(hessian), curvature, [Choice(bits, 32)]
    )
    off = gptq_round(weight, hessian, bits, 32, zeros=True).weights(32) - weight
    # As of inputs that are not quite alike, which is what others than these may be.
    firm = damped(hessian) * hessian.diagonal().mean()
    lost = float(((off @ firm * off).sum(1) * curvature).sum())
    assert price == pytest.approx(lost, rel=0.35)
    (nearest,) = losses_of(
        weight, hessian.diagonal(), hessian.diagonal(), curvature, [Choice(bits, 32)]
    )
    assert (nearest > 3 * lost) == (alike > 0)


def test_what_is_expected_is_what_the_model_loses(measured: PreTrainedModel) -> None:
    """To second order: of small errors, on the text that was read, in the mean over draws."""
    text = write_text(measured, window=64)

    def logprobs() -> Tensor:
        found: Tensor = measured(input_ids=text).logits.log_softmax(-1)
        return found

    with torch.inference_mode():
        exact = logprobs()
    for name in ("model.layers.0.mlp.down_proj", "model.layers.1.self_attn.q_proj"):
        layer = measured.get_submodule(name)
        assert isinstance(layer, nn.Linear)
        hessian, curvature = getattr(layer, HESSIAN).whole(), getattr(layer, CURVATURE)
        kept = layer.weight.detach().clone()
        off = torch.randn(kept.shape, generator=torch.Generator().manual_seed(1)) * 0.02
        with torch.inference_mode():
            layer.weight.add_(off)
            found = logprobs()
            layer.weight.copy_(kept)
        lost = float((exact.exp() * (exact - found)).sum(-1).mean())
        expected = float(((off @ hessian * off).sum(1) * curvature).sum())
        assert 0.4 < expected / lost < 2.5


def test_a_hessian_counts_tokens_by_what_answers_hang_on(tiny_model_dir: Path) -> None:
    model = load_model(tiny_model_dir)
    text = write_text(model, window=32, rows=1)
    gather_hessians_of_text(model, text)
    layer = model.get_submodule("model.layers.1.self_attn.v_proj")
    before = getattr(layer, HESSIAN).whole()
    gather_curvatures(model, text.tolist(), seed=3)
    seen: dict[str, Tensor] = {}

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        output.retain_grad()
        seen.update(read=inputs[0].detach()[0], written=output)

    layer.register_forward_hook(watch)
    logprobs = model(input_ids=text).logits[0].log_softmax(-1)
    draw = torch.Generator().manual_seed(3)
    drawn = draw_tokens(logprobs.detach().exp(), draw)
    (-logprobs.gather(-1, drawn).sum()).backward()
    gradient = seen["written"].grad
    assert gradient is not None
    guided = (seen["read"].T * gradient[0].square().sum(-1)) @ seen["read"]
    expected = before + before.trace() / guided.trace() * guided  # half and half
    assert torch.allclose(getattr(layer, HESSIAN).whole(), expected, rtol=1e-3, atol=1e-4)
    alone = load_model(tiny_model_dir)  # whose hessians are gathered on the same way
    gather_curvatures(alone, text.tolist(), seed=3)
    other = alone.get_submodule("model.layers.1.self_attn.v_proj")
    assert torch.allclose(getattr(other, HESSIAN).whole(), expected, rtol=1e-3, atol=1e-4)
    assert torch.allclose(getattr(other, CURVATURE), getattr(layer, CURVATURE), rtol=1e-3)
    queries = model.get_submodule("model.layers.1.self_attn.q_proj")
    assert not torch.allclose(getattr(queries, HESSIAN).whole(), expected, rtol=1e-2)


@pytest.mark.usefixtures("little_text")
def test_a_budget_is_spent_and_no_more(tiny_model_dir: Path, tmp_path: Path) -> None:
    lost = {}
    for bits in (8.0, 9.5):
        out = tmp_path / str(bits)
        said: list[str] = []
        manifest = export_artifact(
            tiny_model_dir, out, quantize="int4", bits=bits, progress=said.append
        )
        budget = manifest.quantization.budget
        assert budget
        counted = [line.split()[2:] for line in said if line.startswith("rounding matrix")]
        assert counted[-1][0] == counted[-1][2] == str(len(budget.choices))
        assert manifest == read_manifest(out)
        assert manifest.quantization.block_size is None
        size = sum(entry.bytes for name, entry in manifest.files.items() if "model." in name)
        assert bits - 1.0 < 8 * size / manifest.model.parameters <= bits
        lost[bits] = sum(choice.expected_kl for choice in budget.choices)
        assert Artifact.open(out).generate([5, 6, 7])
    assert lost[9.5] < lost[8.0]
    raw = (out / MANIFEST_NAME).read_bytes()
    for was, planted, message in (
        (b'"expected_kl"', b'"other"', "unknown field"),
        (b'"bits": 8,', b'"bits": 0,', "bits must be at least 1 and at most 32"),
        (b'"choices"', b'"chosen"', "unknown field"),
        (b'"integers": ', b'"integers": 1', "multiple of 8|bytes of planes"),
        (b'"integers": ', b'"integers": 80', "must have .* bytes of planes, has"),
    ):
        assert was in raw
        with pytest.raises(ArtifactError, match=message):
            parse_manifest(raw.replace(was, planted, 1), "m")


@pytest.mark.usefixtures("little_text")
def test_planes_are_listed_and_other_libraries_get_none(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    layouts: dict[str, Layout | None] = {"own": None, "optimum": "optimum"}
    for name, layout in layouts.items():
        manifest = export_artifact(
            tiny_model_dir, tmp_path / name, quantize="int4", bits=9.5, layout=layout
        )
        budget = manifest.quantization.budget
        assert budget
        stored = [one for one in budget.choices if kernel_bits(one.bits) != one.bits]
        assert [one.bits for one in budget.planes or ()] == [one.bits for one in stored]
        filled = [
            one.integers - entry.weights
            for one, entry in zip(budget.planes or (), stored, strict=True)
        ]
        assert all(some >= 0 for some in filled)
        assert bool(stored) == (layout is None) == ("model.onnx.planes" in manifest.files)
        needed = memory_needed(tmp_path / name, manifest)
        assert needed.weights >= sum(
            one.integers * kernel_bits(one.bits) // 8 for one in budget.planes or ()
        )
    assert ort.InferenceSession(tmp_path / "optimum" / "model.onnx").get_inputs()
    planes = tmp_path / "own" / "model.onnx.planes"
    planes.write_bytes(planes.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"model\.onnx\.planes"):
        Artifact.open(tmp_path / "own")


@pytest.mark.parametrize("bits", [0.0, -1.0, 1.0, 99.0, float("nan"), float("inf")])
def test_a_budget_that_no_choice_has_is_one_line(measured: PreTrainedModel, bits: float) -> None:
    parameters = sum(one.numel() for one in measured.parameters())
    with pytest.raises(OptionError, match=r"^--bits must be \d+\.\d\d to \d+\.\d\d for this model"):
        budget_of(decoder_of(measured, 64), bits, parameters)


@pytest.mark.parametrize(
    ("bits", "memory_bits", "says"),
    [
        (2.0, None, r"^--bits must be \d+\.\d\d to \d+\.\d\d for this model, got 2$"),
        (31.0, None, r"^--bits must be \d+\.\d\d to \d+\.\d\d for this model, got 31$"),
        (11.0, 1.0, r"^--memory-bits must be at least \d+\.\d\d for this model with --bits 11,"),
    ],
)
def test_a_budget_that_no_choice_has_is_refused_before_anything_is_measured(
    bits: float, memory_bits: float | None, says: str, tiny_model_dir: Path, tmp_path: Path
) -> None:
    steps: list[str] = []
    with pytest.raises(OptionError, match=says):
        export_artifact(
            tiny_model_dir,
            tmp_path / "a",
            quantize="int4",
            bits=bits,
            memory_bits=memory_bits,
            progress=steps.append,
        )
    assert steps == ["loading the model"]
    assert list(tmp_path.iterdir()) == []


def test_the_same_seed_makes_the_same_choices(tiny_model_dir: Path) -> None:
    def choose() -> object:
        model = load_model(tiny_model_dir)
        text = write_text(model, window=32)
        gather_hessians_of_text(model, text)
        gather_curvatures(model, text.tolist())
        return budget_of(decoder_of(model, 64), 11.0, sum(p.numel() for p in model.parameters()))

    assert choose() == choose()


def test_too_little_text_leaves_nothing(tiny_model_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"--bits: text .* at least 32 tokens, got \d"):
        export_artifact(
            tiny_model_dir,
            tmp_path / "a",
            quantize="int4",
            bits=9.0,
            rounded_by=RoundingText(["g2p: a"]),
        )
    assert not list(tmp_path.iterdir())
