"""The router against plain loops, its file against tampering."""

from __future__ import annotations

import base64
import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.edge.deferral import router_file as module
from escalade.edge.deferral.router import Layer, Router, token_probabilities
from escalade.edge.deferral.router_file import ROUTER_SCHEMA, RouterFile
from escalade.edge.deferral.rule import DeferralRule
from escalade.edge.deferral.rules import defers
from escalade.edge.errors import ArtifactError, DataError

logprobs = st.lists(st.floats(-50, 0), min_size=1, max_size=12)


def random_router(widths: list[int], seed: int = 1) -> Router:
    generator = np.random.default_rng(seed)
    return Router(
        [
            (generator.normal(size=(outputs, inputs)), generator.normal(size=outputs))
            for inputs, outputs in itertools.pairwise(widths)
        ]
    )


def by_hand(router: Router, values: list[float]) -> float:
    """Equation 10's features, then each unit on its own, from the numbers in the file."""
    ps = [math.exp(value) for value in values][: router.length]
    activations = ps + [0.0] * (router.length - len(ps))
    for depth, (weight, bias) in enumerate(router._layers):
        activations = [
            math.fsum(float(w) * a for w, a in zip(row, activations, strict=True)) + float(b)
            for row, b in zip(weight, bias, strict=True)
        ]
        if depth < len(router._layers) - 1:
            activations = [max(0.0, a) for a in activations]
    return activations[0]


@given(logprobs, st.lists(st.integers(1, 5), max_size=2), st.integers(0, 99))
@settings(deadline=None)
def test_the_score_is_the_networks_logit(values: list[float], hidden: list[int], seed: int) -> None:
    router = random_router([8, *hidden, 1], seed)
    assert router(values) == pytest.approx(by_hand(router, values), abs=1e-9)


def test_probabilities_are_padded_with_zeros_and_cut_off() -> None:
    values = np.log([0.5, 0.25, 1.0])
    assert token_probabilities(values, 5) == pytest.approx([0.5, 0.25, 1.0, 0.0, 0.0])
    assert token_probabilities(values, 2) == pytest.approx([0.5, 0.25])
    assert token_probabilities([1e-7, -math.inf], 2).tolist() == [1.0, 0.0]
    router = random_router([2, 3, 1])
    assert router([-0.1, -0.2]) == router([-0.1, -0.2, -9.0])


def test_a_router_is_a_deferral_rule() -> None:
    rule: DeferralRule = random_router([4, 3, 1])
    for broken in ([math.nan], [-0.1, math.inf], [-0.1] * 9 + [math.nan]):
        assert defers(rule(broken), 1e9)
    assert math.isfinite(rule([-math.inf]))
    with pytest.raises(ValueError, match=r"shape \(N,\)"):
        rule([])


@pytest.mark.parametrize(
    ("layers", "says"),
    [
        ([], "at least 1 layer"),
        ([(np.ones(3), np.ones(1))], r"got \(3,\) and \(1,\)"),
        ([(np.ones((1, 0)), np.ones(1))], r"all >= 1, .*got \(1, 0\)"),
        ([(np.ones((2, 3)), np.ones(3)), (np.ones((1, 2)), np.ones(1))], r"\(2, 3\) and \(3,\)"),
        ([(np.ones((2, 3)), np.ones(2)), (np.ones((1, 3)), np.ones(1))], "gives 2 .* takes 3"),
        ([(np.ones((2, 3)), np.ones(2))], "must give 1 number, the logit; got 2"),
        ([(np.full((1, 3), math.nan), np.ones(1))], "layer 0: a number is not finite"),
        ([(np.ones((1, 3)), np.array([math.inf]))], "layer 0: a number is not finite"),
    ],
)
def test_layers_that_do_not_fit(layers: list[Layer], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Router(layers)


@pytest.mark.parametrize("widths", [[96, 64, 1], [5, 1], [7, 4, 3, 1]])
def test_a_saved_router_scores_the_same(tmp_path: Path, widths: list[int]) -> None:
    router = random_router(widths)
    router.save(tmp_path / "router.json")
    opened = Router.open(tmp_path / "router.json")
    assert opened.widths == router.widths == widths
    assert opened.length == widths[0]
    assert opened.parameters == sum(i * o + o for i, o in itertools.pairwise(widths))
    values = [-0.5, -0.01, -3.0]
    assert opened(values) == router(values)
    opened.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "router.json").read_bytes()


def test_a_router_is_not_written_over_a_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is a folder"):
        random_router([3, 1]).save(tmp_path)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "router.json"
    random_router([4, 3, 1]).save(path)
    return path


def test_one_altered_weight_is_noticed(saved: Path) -> None:
    content = json.loads(saved.read_text())
    numbers = np.frombuffer(base64.b64decode(content["weights"][0]), "<f4").copy()
    numbers[5] += 1.0
    content["weights"][0] = base64.b64encode(numbers.tobytes()).decode()
    saved.write_text(json.dumps(content))
    with pytest.raises(ArtifactError, match=r"router\.json: altered"):
        Router.open(saved)


def floats(*numbers: float) -> bytes:
    return np.array(numbers, "<f4").tobytes()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"widths": [1]}, "got 1 widths, 2 weights, 2 biases"),
        ({"widths": []}, "got 0 widths"),
        ({"widths": [4, 3]}, "got 2 widths, 2 weights"),
        ({"weights": []}, "0 weights, 2 biases"),
        ({"biases": [b""]}, "2 weights, 1 biases"),
        ({"widths": [4, 0, 1]}, "must be at least 1, got 0"),
        ({"widths": [4, -3, 1]}, "must be at least 1, got -3"),
        ({"widths": [2**70, 3, 1]}, "layer 0: weight and bias of 48 and 12 bytes"),
        ({"widths": [3, 4, 1]}, "layer 0: .* need 48 and 16"),
        ({"biases": [floats(0, 0, 0), floats(0)[:-1]]}, "layer 1: .* 12 and 3 bytes"),
        ({"biases": [floats(0, 0, 0), floats(math.inf)]}, "layer 1: a number is not finite"),
        ({"biases": [floats(0, 0, math.nan), floats(0)]}, "layer 0: a number is not finite"),
        (
            {
                "widths": [4, 2],
                "weights": [floats(*range(8))],
                "biases": [floats(0, 0)],
            },
            "must give 1 number",
        ),
    ],
)
def test_a_signed_file_whose_numbers_do_not_fit(
    saved: Path, change: dict[str, Any], says: str
) -> None:
    content = msgspec.json.decode(saved.read_bytes(), type=RouterFile)
    changed = msgspec.structs.replace(content, **change)
    signed = msgspec.structs.replace(changed, sha256=module._digest(changed))
    saved.write_bytes(msgspec.json.encode(signed))
    with pytest.raises(ArtifactError, match=says):
        Router.open(saved)


def set_key(key: str, value: object) -> Callable[[bytes], bytes]:
    return lambda raw: json.dumps({**json.loads(raw), key: value}).encode()


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda raw: raw[: len(raw) // 2], "not a router"),
        (lambda raw: b"", "not a router"),
        (lambda raw: b"[]", "not a router"),
        (lambda raw: b'"\xff"', "not a router"),
        (set_key("schema", 2), f"schema 2; this version reads {ROUTER_SCHEMA}"),
        (set_key("pickle", "x"), "unknown field `pickle`"),
        (set_key("weights", ["***"]), "not a router"),
        (set_key("widths", [1e999]), "not a router"),
        (set_key("sha256", "0" * 64), "altered"),
        (lambda raw: raw + b" " * (1 << 24), "more than 16777216 bytes"),
    ],
)
def test_a_damaged_file_is_refused(
    saved: Path, damage: Callable[[bytes], bytes], says: str
) -> None:
    saved.write_bytes(damage(saved.read_bytes()))
    with pytest.raises(ArtifactError, match=says) as caught:
        Router.open(saved)
    assert str(saved) in str(caught.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere: cannot be read: No such file"):
        Router.open(tmp_path / "nowhere")
    with pytest.raises(ArtifactError, match="cannot be read: Is a directory"):
        Router.open(tmp_path)
