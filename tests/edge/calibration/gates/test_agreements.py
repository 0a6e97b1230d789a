"""Every agreement from a file to a trace to thresholds: a replay is what the device does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from escalade.edge import EdgeClient
from escalade.edge.base import Record
from escalade.edge.calibration.gates import calibrate_cascade
from escalade.edge.calibration.gates.recorded import recorded_queries
from escalade.edge.cascade_file import read_cascade_file
from escalade.edge.deferral import RatesGoal
from escalade.edge.errors import CalibrationError, CascadeError
from escalade.edge.shadow import record_trace
from escalade.edge.trace import read_trace
from escalade.simulator.recorded import tiers_of

PROMPTS = [f"g2p: {word}" for word in ("cat", "dog", "banana", "zebra", "apple", "pear")]
RECORDS = [
    Record(id=str(k), task="g2p", prompt=prompt, references=["x"])
    for k, prompt in enumerate(PROMPTS)
]

SEVERAL = """\
[[tiers]]
name = "several"
members = [
  {{ artifact = "{0}", weight = {weight} }},
  "{2}",
  "{1}",
]
"""
SAMPLES = """\
[[tiers]]
name = "several"
members = ["{0}"]
samples = 4
temperature = 3
seed = 5
"""
REST = """\
gate = {{ rule = "{rule}", threshold = {tau!r} }}

[[tiers]]
name = "last"
members = ["{0}"]
"""

CASES = [
    (SEVERAL, "vote", 1.0),
    (SEVERAL, "vote", 2.5),
    (SEVERAL, "vote:words", 0.4),
    (SEVERAL, "mean-score", 1.0),
    (SEVERAL, "mean-score:folded", 2.5),
    (SEVERAL, "similarity:edit", 1.0),
    (SEVERAL, "similarity:chrf", 2.5),
    (SAMPLES, "vote", 1.0),
    (SAMPLES, "mean-score", 1.0),
    (SAMPLES, "similarity:edit", 1.0),
]

Write = Callable[..., Path]


@pytest.fixture
def write(folders: list[Path], tmp_path: Path) -> Write:
    def write(tiers: str, rule: str, weight: float, tau: float = 0.5) -> Path:
        path = tmp_path / "cascade.toml"
        path.write_text((tiers + REST).format(*folders, rule=rule, weight=weight, tau=tau))
        return path

    return write


@pytest.mark.parametrize(("tiers", "rule", "weight"), CASES)
def test_a_replay_is_what_the_device_does(
    write: Write, tmp_path: Path, tiers: str, rule: str, weight: float
) -> None:
    path, out = write(tiers, rule, weight), tmp_path / "trace.jsonl"
    with EdgeClient.open(path) as client:
        record_trace(client, RECORDS, out)
        recorded = recorded_queries(
            client.cascade, read_cascade_file(path), out, unit="flops", judged=True
        ).sample
    trace = read_trace(out)
    assert trace.header.tiers[0].rule == rule
    replayed = tiers_of(trace)[0]
    scores = np.unique(replayed.score)
    assert recorded.scores[:, 0].tolist() == replayed.score.tolist()
    taus = [float(scores[0]), float(scores[-1]), float(np.nextafter(scores[-1], 2)), 0.3]
    for tau in taus:
        write(tiers, rule, weight, tau)
        with EdgeClient.open(path) as client:
            for query, record in enumerate(trace.records):
                answer, whole = client.ask(record.prompt), record.tiers[0]
                assert whole is not None
                said = answer.tiers[0]
                assert said is not None
                assert (answer.outcome == "deferred") == bool(replayed.score[query] >= tau)
                asked = int(replayed.asked[replayed.level(tau)][query])
                assert len(said.members) == asked
                spent = sum(
                    2 * client.cascade.tiers[0].members()[one.member].parameters
                    * (one.prompt_tokens + one.generated_tokens)
                    for one in said.members
                )  # fmt: skip
                assert recorded.cost(0, tau)[query] == spent
                for one, other in zip(said.members, whole.members, strict=False):
                    assert one.text == other.text
                    # Where only texts are compared, members read what others said as drafts.
                    near = 0.0 if rule.startswith("mean-score") else 1e-5
                    assert one.logprobs == pytest.approx(other.logprobs, rel=0, abs=near)
                if answer.outcome == "answered":
                    assert answer.text == whole.text


@pytest.mark.parametrize(("tiers", "rule", "weight"), CASES)
def test_its_threshold_is_calibrated_and_held_to(
    write: Write, tmp_path: Path, tiers: str, rule: str, weight: float
) -> None:
    # Recorded under a plain vote: what members said is enough for any agreement.
    path, out = write(tiers, "vote", weight), tmp_path / "trace.jsonl"
    with EdgeClient.open(path) as client:
        record_trace(client, RECORDS, out)
    path = write(tiers, rule, weight)
    with EdgeClient.open(path, calibrated=False) as client:
        found = calibrate_cascade(path, client.cascade, out, RatesGoal(targets=[0.5]))
    assert found.rules == [rule]
    assert found.weights == ([] if weight == 1.0 else [weight, 1.0, 1.0, 1.0])
    assert [one.samples for one in found.samples] == ([4] if tiers == SAMPLES else [])
    with EdgeClient.open(path) as client:
        gate = client.cascade.gates[0]
        assert gate is not None
        assert (gate.rule.name, gate.threshold) == (rule, found.thresholds[0])
    text = path.read_text()
    for was, now, says in (
        (f"weight = {weight}", "weight = 7.0", "members' weights are"),
        ("seed = 5", "seed = 6", "samples, temperature or seed are not those"),
        ("temperature = 3\n", "temperature = 2\n", "samples, temperature or seed are not those"),
        ("samples = 4\ntemp", "samples = 3\ntemp", "samples, temperature or seed are not those"),
        (f'rule = "{rule}"', 'rule = "vote:number"', "which calibration is of"),
    ):
        if was in text:
            path.write_text(text.replace(was, now, 1))
            with pytest.raises(CascadeError, match=says):
                EdgeClient.open(path)


def test_samples_of_another_seed_are_another_cascades(write: Write, tmp_path: Path) -> None:
    path, out = write(SAMPLES, "vote", 1.0), tmp_path / "trace.jsonl"
    with EdgeClient.open(path) as client:
        record_trace(client, RECORDS, out)
    path.write_text(path.read_text().replace("seed = 5", "seed = 6"))
    with (
        EdgeClient.open(path) as client,
        pytest.raises(CalibrationError, match="gives 0 of 6 of its answers"),
    ):
        calibrate_cascade(path, client.cascade, out, RatesGoal(targets=[0.5]))


def test_a_last_tier_says_who_wins_and_is_heard_whole(folders: list[Path], tmp_path: Path) -> None:
    path, out = tmp_path / "cascade.toml", tmp_path / "trace.jsonl"
    path.write_text(
        f'[[tiers]]\nmembers = ["{folders[0]}"]\ngate = {{ threshold = -1 }}\n'
        f'[[tiers]]\nname = "last"\nmembers = ["{folders[2]}", "{folders[0]}", "{folders[1]}"]\n'
        'gate = { rule = "similarity:edit" }\n'
    )
    with EdgeClient.open(path) as client:
        answer = client.ask(PROMPTS[0])
        assert (answer.outcome, len(answer.said.members)) == ("deferred", 3)
        assert answer.text == answer.said.members[1].text  # two of the same
        assert answer.said.score is not None
        record_trace(client, RECORDS, out)
        sample = recorded_queries(
            client.cascade, read_cascade_file(path), out, unit="calls", judged=True
        ).sample
    assert sample.costs[-1].tolist() == [[1.0] * 6]
    last = tiers_of(read_trace(out))[1]
    assert last.asked.tolist() == [[3] * 6]
    assert last.score[0] == answer.said.score
