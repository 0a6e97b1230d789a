"""Members that read drafts live take what the trace says of that, where the rule lets them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
import pytest

from escalade.edge.deferral import Gate, agreement_named, reads_logprobs, rule_named
from escalade.edge.trace import Trace
from escalade.simulator.devices import Device, Replayed
from escalade.simulator.network import Network, get_profile
from escalade.simulator.recorded import tiers_of
from escalade.simulator.replay import Replay, replay
from escalade.simulator.replay.setting import Setting

MakeCascade = Callable[..., Trace]
FREE = Network(get_profile("free"))
PHONE = Device(name="phone", resnet18_ms=10, watts=2.0, source="test")
SPARED = (0.0, 0.4, 0.7)  # of each member's seconds


def drafted(trace: Trace, spared: Sequence[float] = SPARED) -> Trace:
    """The same, whose members but the first take less live."""
    records = []
    for record in trace.records:
        first, *rest = record.tiers
        assert first is not None
        members = [
            msgspec.structs.replace(one, drafted_s=one.seconds * (1 - spared[k]))
            if spared[k]
            else one
            for k, one in enumerate(first.members)
        ]
        answer = msgspec.structs.replace(first, members=members)
        records.append(msgspec.structs.replace(record, tiers=[answer, *rest]))
    return trace._replace(records=records)


def with_rule(trace: Trace, rule: str) -> Trace:
    first, *rest = trace.header.tiers
    tiers = [msgspec.structs.replace(first, rule=rule), *rest]
    return trace._replace(header=msgspec.structs.replace(trace.header, tiers=tiers))


def run(trace: Trace, threshold: float = 0.5, scale: float = 1.0) -> Replay:
    setting = Setting(device=Replayed(PHONE, scale))
    return replay(trace, FREE, (threshold,), setting=setting, seed=0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_in_turn_those_that_were_asked_spare_what_they_do(
    make_cascade: MakeCascade, scale: float
) -> None:
    trace = make_cascade([3, 1], 60)
    before, after = run(trace, scale=scale), run(drafted(trace), scale=scale)
    asked = before.members[0]
    assert set(asked.tolist()) == {2, 3}
    spared = [
        scale * sum(one.seconds * SPARED[k] for k, one in enumerate(answer.members[:many]))
        for answer, many in zip(tiers_of(trace)[0].answers, asked.tolist(), strict=True)
    ]
    assert np.allclose(before.cascade_s - after.cascade_s, spared, rtol=0, atol=1e-12)
    assert after.members.tolist() == before.members.tolist()
    assert after.course.last_only_s.tolist() == before.course.last_only_s.tolist()


def test_log_probabilities_that_decide_are_read_by_themselves(make_cascade: MakeCascade) -> None:
    trace = with_rule(make_cascade([3, 1], 60), "mean-score")
    before, after = run(trace, 0.9), run(drafted(trace), 0.9)
    assert after.cascade_s.tolist() == before.cascade_s.tolist()


def test_some_queries_may_have_them_and_others_not(make_cascade: MakeCascade) -> None:
    trace = make_cascade([3, 1], 20)
    mixed = trace._replace(records=[*drafted(trace).records[:10], *trace.records[10:]])
    spared = run(trace).cascade_s - run(mixed).cascade_s
    assert (spared[:10] > 0).all()
    assert spared[10:].tolist() == [0.0] * 10


@pytest.mark.parametrize("name", ["vote", "vote:folded", "mean-score", "mean-score:words"])
def test_a_rule_by_its_name_says_the_same_as_its_gate(name: str) -> None:
    assert reads_logprobs(name) == Gate(rule=agreement_named(name), threshold=0.5).reads_logprobs


def test_a_rule_of_one_model_reads_them_and_no_rule_does_not() -> None:
    assert reads_logprobs("mean")
    assert Gate(rule=rule_named("mean"), threshold=0.5).reads_logprobs
    assert reads_logprobs("router")
    assert not reads_logprobs(None)
    assert not reads_logprobs("similarity:embedding")
