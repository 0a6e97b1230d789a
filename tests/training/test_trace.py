"""The trace of torch models: every tier asked, nothing crossed, the gates of equation 4."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from escalade.edge.base import Record
from escalade.edge.errors import DataError
from escalade.edge.trace import MemberInfo, TierAnswer, read_trace, write_trace
from escalade.training.errors import TrainingError
from escalade.training.quality import GreedyAnswer
from escalade.training.trace import Answered, answer_all, trace_of

RECORDS = [
    Record(id="a", task="t", prompt="one", references=["1"]),
    Record(id="b", task="t", prompt="two", references=["2"]),
    Record(id="c", task="t", prompt="three", references=[]),
]


def model(name: str, *said: tuple[str, float]) -> Answered:
    """A model of so many answers, each of two tokens of that log-probability."""
    answers = [GreedyAnswer(text, [logprob, logprob], 3) for text, logprob in said]
    return Answered(MemberInfo(name=name, parameters=len(name)), answers)


THREE = [
    model("s", ("1", -0.1), ("?", -2.0), ("?", -2.0)),
    model("me", ("1", -0.1), ("2", -0.1), ("?", -math.inf)),
    model("big", ("1", -0.1), ("2", -0.1), ("3", math.nan)),
]


def test_a_query_climbs_until_a_gate_lets_it_stand() -> None:
    header, records = trace_of(RECORDS, THREE, threshold=1.0)
    assert [(t.name, t.place, t.rule, t.threshold) for t in header.tiers] == [
        ("s", "device", "mean", 1.0), ("me", "gateway", "mean", 1.0), ("big", "cloud", None, None),
    ]  # fmt: skip
    assert [[m.parameters for m in t.members] for t in header.tiers] == [[1], [2], [3]]
    assert [(r.answered_by, r.outcome) for r in records] == [
        (0, "answered"), (1, "deferred"), (2, "deferred"),
    ]  # fmt: skip


def test_every_tier_is_asked_and_judged_and_nothing_takes_time() -> None:
    for record in trace_of(RECORDS, THREE, threshold=1.0).records:
        tiers = [tier for tier in record.tiers if isinstance(tier, TierAnswer)]
        assert len(tiers) == 3
        for tier, answered in zip(tiers, THREE, strict=True):
            (member,) = tier.members
            said = answered.answers[[r.id for r in RECORDS].index(record.id)]
            assert (tier.text, member.logprobs) == (said.text, said.logprobs)
            assert (member.prompt_tokens, member.generated_tokens) == (3, 2)
            assert tier.correct == member.correct
            assert tier.correct is (said.text in record.references if record.references else None)
            assert (tier.seconds, member.seconds, record.total_s, tier.link) == (
                0.0,
                0.0,
                0.0,
                None,
            )
        assert [tier.score is None for tier in tiers] == [False, False, True]


def test_it_is_read_as_it_was_written_whatever_a_model_said(tmp_path: Path) -> None:
    made = trace_of(RECORDS, THREE, threshold=1.0)
    write_trace(tmp_path / "t.jsonl", made.header, made.records)
    assert str(read_trace(tmp_path / "t.jsonl")) == str(made)  # NaN is unequal to itself


@pytest.mark.parametrize(
    ("models", "says"),
    [
        (THREE[:1], "needs at least 2 models, got 1"),
        ([THREE[0], THREE[0]], "names of their own, got 's' twice"),
    ],
)
def test_models_that_make_no_cascade(models: list[Answered], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        trace_of(RECORDS, models, threshold=1.0)


def test_a_prompt_that_does_not_fit_is_named_by_its_record(tiny_model_dir: Path) -> None:
    torch_model = AutoModelForCausalLM.from_pretrained(tiny_model_dir)
    tokenizer = AutoTokenizer.from_pretrained(tiny_model_dir)
    records = [
        Record(id=name, task="t", prompt=prompt, references=["x"])
        for name, prompt in [("good", "g2p: a"), ("long", "g2p: " + "a" * 5000)]
    ]
    with pytest.raises(DataError, match="record 'long': a prompt of .* leaves no room"):
        answer_all(torch_model, tokenizer, records)
    with pytest.raises(DataError, match="line 2: a prompt"):
        answer_all(torch_model, tokenizer, records, where=lambda record: "line 2")
