"""What the cloud takes for a query: as recorded, as told, or by its tokens as a fit has it."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest

from escalade.edge.trace import Hop, MemberAnswer, MemberInfo, Trace, TraceRecord, write_trace
from escalade.simulator.errors import FleetError
from escalade.simulator.fleet import run_fleet
from escalade.simulator.fleet.building import build
from escalade.simulator.fleet.description.checking import read_spec
from escalade.simulator.load import shown
from escalade.simulator.load.fitting import fit

# Both are sums of powers of two, so that nothing is rounded.
START_S, TOKEN_S = 0.125, 0.03125
OF_TOKENS = f"start_s = {START_S}\ntoken_s = {TOKEN_S}"

FLEET = """
seconds = 100
[cloud]
replicas = 5
slots = 4
slowdown = 0.2
{cloud}
[[groups]]
name = "phones"
count = 100
profile = "lte"
arrivals = {{ kind = "poisson", per_hour = 360 }}
{queries}
"""
TRACE = 'trace = "t.jsonl"'
SHOPS = 'gateway = "shops"\n[[gateways]]\nname = "shops"\ncount = 9\nprofile = "fios"\n'


def fleet(tmp_path: Path, cloud: str = "", queries: str = TRACE) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET.format(cloud=cloud, queries=queries))
    return path


def written(tokens: int, *, member: int = 0) -> MemberAnswer:
    return MemberAnswer(
        member=member,
        text="a",
        logprobs=[],
        prompt_tokens=900,  # what it read is in the seconds of a start
        generated_tokens=tokens,
        seconds=0.0,
    )


@pytest.fixture
def linear(make_trace: Callable[..., Trace], with_answer: Callable[..., TraceRecord]) -> Trace:
    """Each call took START_S and TOKEN_S for each token."""
    trace = make_trace([0.1, 0.9] * 10, [True] * 20, [True] * 20)
    records = []
    for k, record in enumerate(trace.records):
        took_s = START_S + TOKEN_S * (k + 1)
        cloud = record.tiers[1]
        assert cloud is not None
        assert cloud.link is not None
        link = msgspec.structs.replace(cloud.link, round_trip_s=took_s, server_s=took_s)
        records.append(with_answer(record, 1, link=link, members=[written(k + 1)], seconds=took_s))
    return Trace(trace.header, records)


def through_gateways(
    trace: Trace, with_answer: Callable[..., TraceRecord], *, model: str = "large"
) -> Trace:
    """Every second query stayed there."""
    device, cloud = trace.header.tiers
    cloud = msgspec.structs.replace(
        cloud, members=[MemberInfo(name="middle", parameters=5), *cloud.members]
    )
    records = []
    for k, record in enumerate(trace.records):
        own = Hop(tier="gateway", place="gateway", model="middle", seconds=0.0625)
        took_s = START_S + TOKEN_S * (k + 1)
        behind = Hop(tier="cloud", place="cloud", model=model, seconds=took_s)
        ran = [written(99), written(k + 1, member=1)]
        many = 1 + k % 2
        records.append(with_answer(record, 1, hops=[own, behind][:many], members=ran[:many]))
    return Trace(msgspec.structs.replace(trace.header, tiers=[device, cloud]), records)


def write(tmp_path: Path, trace: Trace) -> None:
    write_trace(tmp_path / "t.jsonl", trace.header, trace.records)


def bytes_of(path: Path) -> bytes:
    return msgspec.json.encode(run_fleet(path, seed=1).report)


def test_a_cloud_of_the_traces_own_seconds_is_the_trace(tmp_path: Path, linear: Trace) -> None:
    write(tmp_path, linear)
    as_recorded = bytes_of(fleet(tmp_path))
    assert bytes_of(fleet(tmp_path, OF_TOKENS)) == as_recorded
    assert bytes_of(fleet(tmp_path, "start_s = 0.125\ntoken_s = 0.0625")) != as_recorded


def test_so_it_is_behind_gateways(
    tmp_path: Path, linear: Trace, with_answer: Callable[..., TraceRecord]
) -> None:
    write(tmp_path, through_gateways(linear, with_answer))
    as_recorded = bytes_of(fleet(tmp_path, queries=TRACE + "\n" + SHOPS))
    assert bytes_of(fleet(tmp_path, OF_TOKENS, TRACE + "\n" + SHOPS)) == as_recorded


def test_the_call_is_among_the_seconds_of_a_start(tmp_path: Path, linear: Trace) -> None:
    """A fit's seconds are those of a call, so that what one took beside the server counts once."""
    slower = [
        msgspec.structs.replace(record, tiers=[record.tiers[0], with_slow_link(record)])
        for record in linear.records
    ]
    write(tmp_path, linear)
    as_recorded, fitted = bytes_of(fleet(tmp_path)), bytes_of(fleet(tmp_path, OF_TOKENS))
    write(tmp_path, Trace(linear.header, slower))
    assert bytes_of(fleet(tmp_path)) != as_recorded
    assert bytes_of(fleet(tmp_path, OF_TOKENS)) == fitted


def with_slow_link(record: TraceRecord) -> object:
    cloud = record.tiers[1]
    assert cloud is not None
    assert cloud.link is not None
    link = msgspec.structs.replace(cloud.link, round_trip_s=cloud.link.round_trip_s + 0.5)
    return msgspec.structs.replace(cloud, link=link)


def test_told_tokens_are_told_seconds(tmp_path: Path) -> None:
    """Without a start, so many tokens take as long on average, and spread alike."""
    told = ANSWERS
    seconds = bytes_of(fleet(tmp_path, "", told.format(", cloud_s = 0.5")))
    tokens = fleet(tmp_path, "start_s = 0\ntoken_s = 0.03125", told.format(", tokens = 16"))
    assert bytes_of(tokens) == seconds
    build(read_spec(fleet(tmp_path, OF_TOKENS, told.format(", tokens = 12"))), tmp_path, seed=1)
    constant = told.format(', tokens = 12, spread = "constant"')
    model = build(read_spec(fleet(tmp_path, OF_TOKENS, constant)), tmp_path, seed=1).model
    assert set(model.cloud_s.tolist()) == {0.5}


def test_a_fits_own_lines_are_a_cloud(tmp_path: Path, linear: Trace) -> None:
    """What `escalade load --fit` prints, pasted, gives calls the seconds that it was fitted to."""
    rng = np.random.default_rng(1)
    loops = {}
    for clients in (1, 2, 4, 8):
        tokens = rng.integers(1, 40, 50 * clients)
        took_s = (0.25 + 0.0625 * tokens) * (1 + 0.3 * (clients - 1))
        loops[clients] = np.column_stack([tokens, took_s])
    (_, *lines), _ = shown(fit(loops))
    assert lines[0] == "[cloud]"
    write(tmp_path, linear)
    text = fleet(tmp_path).read_text()
    head = re.compile(r"\[cloud\]\n(replicas = .*\n)slots.*\nslowdown.*\n")
    assert head.search(text)
    path = tmp_path / "fleet.toml"
    path.write_text(head.sub("\n".join(lines) + "\nreplicas = 8\n", text))
    spec = read_spec(path)
    assert (spec.cloud.slots, spec.cloud.slowdown) == (8, pytest.approx(0.3, rel=0.01))
    model = build(spec, tmp_path, seed=1).model
    wanted = [0.25 + 0.0625 * (k + 1) for k in range(20)]
    assert sorted(model.cloud_s) == pytest.approx(wanted, rel=0.01)


ANSWERS = "answers = {{ device_s = 0.1, deferral_rate = 0.5{} }}"


@pytest.mark.parametrize(
    ("cloud", "queries", "said"),
    [
        ("start_s = 1", TRACE, "cloud: give both start_s and token_s or neither; got start_s alo"),
        ("token_s = 1", TRACE, "cloud: give both start_s and token_s or neither; got token_s alo"),
        ("start_s = -1\ntoken_s = 1", TRACE, "cloud.start_s must be in [0, 3.2e+09], got -1"),
        ("start_s = 1\ntoken_s = nan", TRACE, "cloud.token_s must be in [0, 3.2e+09], got nan"),
        ("start_s = 1\ntokens_s = 1", TRACE, "did you mean 'token_s'?"),
        ("", ANSWERS.format(""), "answers need cloud_s and no tokens, as the cloud has no token_s"),
        ("", ANSWERS.format(", tokens = 9"), "group 'phones': answers need cloud_s and no tokens"),
        (
            OF_TOKENS,
            ANSWERS.format(", cloud_s = 9"),
            "group 'phones': answers need tokens and no cloud_s, as the cloud has token_s",
        ),
        (OF_TOKENS, ANSWERS.format(", tokens = 9, cloud_s = 9"), "answers need tokens and no clou"),
        (OF_TOKENS, ANSWERS.format(", tokens = 0"), "answers.tokens must be in (0, 1e+09], got 0"),
        (
            "queue = 1\nstart_s = 0\ntoken_s = 1e9",
            TRACE,
            "start_s and token_s: a call must take at most 3.2e+09 s; one of 20 tokens takes 2e+10",
        ),
    ],
)
def test_seconds_that_contradict_are_refused_in_one_line(
    tmp_path: Path, linear: Trace, cloud: str, queries: str, said: str
) -> None:
    write(tmp_path, linear)
    path = fleet(tmp_path, cloud, queries)
    with pytest.raises(FleetError) as caught:
        build(read_spec(path), tmp_path, seed=1)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tokens_of_several_models_are_no_ones(
    tmp_path: Path, linear: Trace, with_answer: Callable[..., TraceRecord]
) -> None:
    write(tmp_path, through_gateways(linear, with_answer))
    with pytest.raises(FleetError) as caught:
        run_fleet(fleet(tmp_path, OF_TOKENS), seed=1)
    assert str(caught.value).endswith(
        "t.jsonl: start_s and token_s are of a cloud of one model; an answer of tier 'cloud' is of"
        " middle, large"
    )
    write(tmp_path, through_gateways(linear, with_answer, model="large, larger"))
    with pytest.raises(FleetError, match="of a cloud of one model behind its gateways; an answer"):
        run_fleet(fleet(tmp_path, OF_TOKENS, TRACE + "\n" + SHOPS), seed=1)
