"""A router learns what a trace shows, the same one every time, and the device has it unchanged."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
import small_traces
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_traces import tier_answer
from torch import nn

from escalade.cli.verbs.router import router as router_verb
from escalade.edge.deferral.router import Router, token_probabilities
from escalade.edge.trace import (
    TierAnswer,
    TraceRecord,
    write_trace,
)
from escalade.training import router as module
from escalade.training.errors import TrainingError
from escalade.training.router import to_router, train_router


def record(
    name: str, logprobs: Sequence[float], small: bool | None, large: bool | None
) -> TraceRecord:
    return small_traces.record(
        name,
        tier_answer(logprobs=logprobs, correct=small),
        tier_answer(correct=large),
        prompt=name,
        references=["x"],
        answered_by=1,
    )


def tiers_of(one: TraceRecord) -> list[TierAnswer]:
    """All of them; every tier of these traces was asked."""
    return [answer for answer in one.tiers if answer is not None]


def response(one: TraceRecord) -> list[float]:
    """The log-probabilities of the first tier's response."""
    return tiers_of(one)[0].members[0].logprobs


def gains_by_deferring(one: TraceRecord) -> bool:
    small, large = tiers_of(one)
    return small.correct is False and large.correct is True


def least_sure_trace(n: int, seed: int) -> list[TraceRecord]:
    """The small model errs with 85 % where a token's p is below 0.5, else with 10 %.

    Every other token is nearly sure or nearly not, so that the mean tells little.
    """
    generator = np.random.default_rng(seed)
    records = []
    for index in range(n):
        ps = generator.uniform(0.5, 1.0, size=generator.integers(2, 7))
        unsure = generator.random() < 0.4
        if unsure:
            ps[:] = 0.99
            ps[generator.integers(ps.size)] = generator.uniform(0.2, 0.5)
        wrong = bool(generator.random() < (0.85 if unsure else 0.1))
        large = bool(generator.random() < 0.8)
        records.append(record(str(index), np.log(ps).tolist(), not wrong, large))
    return records


@pytest.fixture(scope="module")
def trace() -> list[TraceRecord]:
    return least_sure_trace(1000, seed=1)


def area(scores: Sequence[float], positive: Sequence[bool]) -> float:
    """The AUROC from its definition: every pair."""
    pairs = [
        (p > n) + (p == n) / 2
        for p, is_p in zip(scores, positive, strict=True)
        if is_p
        for n, is_n in zip(scores, positive, strict=True)
        if not is_n
    ]
    return sum(pairs) / len(pairs)


def test_a_router_learns_what_the_least_sure_token_says(trace: list[TraceRecord]) -> None:
    router, figures = train_router(trace, hidden=(32,), epochs=60)
    assert figures.loss < 0.95 * figures.baseline_loss
    unseen = least_sure_trace(400, seed=2)
    scores = [router(response(one)) for one in unseen]
    gains = [gains_by_deferring(one) for one in unseen]
    assert area(scores, gains) > 0.7
    # The logit is the log-odds of a gain: no class weights have moved it.
    said = np.mean([1 / (1 + math.exp(-score)) for score in scores])
    assert said == pytest.approx(np.mean(gains), abs=0.06)


def test_the_figures_are_those_of_the_held_out_queries(trace: list[TraceRecord]) -> None:
    seen: list[tuple[int, int]] = []
    _, figures = train_router(
        trace, hidden=(8,), epochs=7, progress=lambda done, total: seen.append((done, total))
    )
    assert seen == [(epoch, 7) for epoch in range(1, 8)]
    assert 0 < figures.epoch <= 7
    gains = sum(gains_by_deferring(one) for one in trace)
    assert figures.n == 1000
    assert figures.gain_rate == gains / 1000
    assert figures.held_out == round(gains / 5) + round((1000 - gains) / 5)
    rate = (gains - round(gains / 5)) / (1000 - figures.held_out)
    share = round(gains / 5) / figures.held_out
    wanted = -(share * math.log(rate) + (1 - share) * math.log(1 - rate))
    assert figures.baseline_loss == pytest.approx(wanted)


@given(
    st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=2, max_size=30).filter(
        lambda pairs: {positive for _, positive in pairs} == {False, True}
    )
)
def test_an_area_counts_every_pair(pairs: list[tuple[int, bool]]) -> None:
    scores, positive = map(list, zip(*pairs, strict=True))
    got = module._auroc(np.array(scores, dtype=float), np.array(positive))
    assert got == pytest.approx(area(scores, positive))


@pytest.mark.parametrize(("other", "wanted"), [(-0.1, 1.0), (-1.0, 0.5), (-2.0, 0.0)])
def test_the_rankings_are_of_gains_and_of_wrong_small_answers(other: float, wanted: float) -> None:
    gains = [record(f"gain {copy}", [-1.0], False, True) for copy in range(5)]
    rights = [record(f"right {copy}", [other], True, True) for copy in range(5)]
    ranking = train_router([*gains, *rights], epochs=1).figures.mean_rule
    assert ranking.auroc_gain == ranking.auroc_small_wrong == wanted
    hopeless = [record(f"hopeless {copy}", [other], False, False) for copy in range(5)]
    ranking = train_router([*gains, *hopeless], epochs=1).figures.mean_rule
    assert ranking.auroc_gain == wanted
    assert ranking.auroc_small_wrong is None


def test_same_seed_same_weights(trace: list[TraceRecord], tmp_path: Path) -> None:
    def weights(seed: int) -> bytes:
        torch.rand(seed)  # where the global generator stands is nothing to a router
        before = torch.get_rng_state()
        path = tmp_path / f"{seed}.json"
        train_router(trace[:200], epochs=3, seed=seed).router.save(path)
        assert torch.equal(torch.get_rng_state(), before)
        return path.read_bytes()

    assert weights(1) == weights(1)
    assert weights(1) != weights(2)


@pytest.mark.parametrize("hidden", [[], [64], [16, 8]])
def test_the_device_computes_what_torch_does(hidden: list[int], trace: list[TraceRecord]) -> None:
    torch.manual_seed(5)
    widths = [96, *hidden, 1]
    modules: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        modules += [nn.Linear(inputs, outputs), nn.ReLU()]
    network = nn.Sequential(*modules[:-1])
    router = to_router(network)
    answers = [response(one) for one in trace[:100]]
    x = torch.tensor(np.array([token_probabilities(one, 96) for one in answers])).float()
    with torch.no_grad():
        wanted = network(x).squeeze(1).numpy()
    assert [router(one) for one in answers] == pytest.approx(wanted, abs=1e-5)


def test_positions_that_training_never_saw_count_for_nothing(trace: list[TraceRecord]) -> None:
    longest = max(len(response(one)) for one in trace)
    router, _ = train_router(trace[:300], epochs=5, length=longest + 4)
    assert router.length == longest + 4
    full = [-0.3] * longest
    assert router(full) == router([*full, -0.1, -5.0])
    assert router(full) != router([*full[:-1], -5.0])
    assert train_router(trace[:300], epochs=1).router.length == longest


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0"),
        ({"hidden": (8, 0)}, "hidden must be at least 1, got 0"),
        ({"length": 0}, "length must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
    ],
)
def test_settings_out_of_range(
    trace: list[TraceRecord], settings: dict[str, int], says: str
) -> None:
    with pytest.raises(TrainingError, match=says):
        train_router(trace, **settings)


_ONE = tier_answer(correct=True)
_PLAIN = [record(str(index), [-0.1], index > 2, True) for index in range(6)]


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([], "gains on 0 of 0"),
        ([*_PLAIN, record("a", [-0.1], None, None)], "1 of 7 records lack"),
        (
            [*_PLAIN, msgspec.structs.replace(_PLAIN[0], tiers=[_PLAIN[0].tiers[0], None])],
            "1 of 7 records lack",
        ),
        ([*_PLAIN, record("a", [math.nan], True, True)], "record 'a': needs 1 or more"),
        ([*_PLAIN, record("a", [], True, True)], "record 'a': needs 1 or more"),
        (
            [
                *_PLAIN,
                msgspec.structs.replace(
                    _PLAIN[0],
                    tiers=[msgspec.structs.replace(_ONE, members=_ONE.members * 3), _ONE],
                ),
            ],
            "record '0': a router reads the response of one model; the first tier has 3",
        ),
        (_PLAIN[2:], "gains on 1 of 4 queries"),
        (_PLAIN[:4], "gains on 3 of 4 queries"),
    ],
)
def test_records_that_teach_nothing(records: list[TraceRecord], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        train_router(records)


def test_the_verb_trains_writes_and_reports(
    trace: list[TraceRecord], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "trace.jsonl", tmp_path / "router.json"
    write_trace(path, small_traces.header(), trace[:200])
    router_verb(path, out, hidden=[8, 4], epochs=3, json=True)
    figures = json.loads(capsys.readouterr().out)
    assert figures["n"] == 200
    assert figures["held_out"] == 40
    assert 0 < figures["loss"] < 2
    assert Router.open(out).widths[1:] == [8, 4, 1]
    router_verb(path, out, epochs=3)
    printed = capsys.readouterr().out
    assert Router.open(out).widths[1:] == [64, 1]
    assert "200 queries, 40 held out" in printed
    assert "at a constant rate" in printed
    assert "mean rule: AUROC" in printed
