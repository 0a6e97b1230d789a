"""Traces of a cascade that will do for calibrating it, and those that will not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from scripted import scripted

from escalade.edge import Cascade, EdgeClient, OpenOptions
from escalade.edge.base import Record
from escalade.edge.calibration.gates.recorded import recorded_queries
from escalade.edge.cascade_file import CascadeFile, read_cascade_file
from escalade.edge.errors import CalibrationError
from escalade.edge.opening import open_cascade
from escalade.edge.shadow import record_trace
from escalade.edge.trace import (
    TierAnswer,
    Trace,
    TraceRecord,
    read_trace,
    write_trace,
)

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def cascade(recording: Any) -> Iterator[Cascade]:
    opened = open_cascade(recording.cascade, OpenOptions(threads=1), calibrated=False)
    yield opened
    opened.close()


@pytest.fixture
def content(recording: Any) -> CascadeFile:
    return read_cascade_file(recording.cascade)


def answers_of(record: TraceRecord) -> list[TierAnswer]:
    return [answer for answer in record.tiers if answer is not None]


def test_the_trace_gives_what_was_said(
    recording: Any, cascade: Cascade, content: CascadeFile
) -> None:
    queries = recorded_queries(cascade, content, recording.trace, judged=True)
    header, records = read_trace(recording.trace)
    sample = queries.sample
    assert (sample.n, sample.gates, queries.asked, queries.identified) == (80, 2, 80, True)
    assert queries.unit == "flops"
    assert sample.right is not None
    parameters = [[member.parameters for member in tier.members] for tier in header.tiers]
    for query, record in enumerate(records):
        small, three, large = answers_of(record)
        assert sample.scores[query].tolist() == [small.score, three.score]
        assert sample.right[query].tolist() == [small.correct, three.correct, large.correct]
        (said,) = large.members
        tokens = said.prompt_tokens + said.generated_tokens
        assert sample.costs[2][0][query] == 2 * parameters[2][0] * tokens
    # A vote that everything defers asks one member, one that nothing defers up to three.
    assert (sample.costs[1][0] < sample.costs[1][-1]).all()
    fewer = recorded_queries(cascade, content, recording.trace, judged=True, limit=20)
    assert fewer.sample.scores.tolist() == sample.scores[::4].tolist()


def test_prices_are_the_files(recording: Any, cascade: Cascade, content: CascadeFile) -> None:
    queries = recorded_queries(cascade, content, recording.trace, unit="money", judged=False)
    _, records = read_trace(recording.trace)
    # Only the second of three members has prices, 2 and 4, and it is asked second.
    second = [answers_of(record)[1].members[1] for record in records]
    expected = [(2.0 * one.prompt_tokens + 4.0 * one.generated_tokens) / 1e6 for one in second]
    assert queries.sample.costs[1][-1].tolist() == pytest.approx(expected)
    assert queries.sample.costs[1][0].max() == queries.sample.costs[0].max() == 0.0
    free = replace(
        content, tiers=[replace(tier, members=["a"] * len(tier.members)) for tier in content.tiers]
    )
    with pytest.raises(CalibrationError, match="a cost in money needs prices"):
        recorded_queries(cascade, free, recording.trace, unit="money", judged=False)


def test_a_tier_elsewhere_is_taken_at_its_word(
    scripted_cloud: Any, folders: list[Path], tmp_path: Path
) -> None:
    path, trace = tmp_path / "cascade.toml", tmp_path / "trace.jsonl"
    path.write_text(
        f'[[tiers]]\nmembers = ["{folders[0]}"]\n'
        f'[[tiers]]\naddress = "{scripted_cloud.address}"\n'
        "prompt_price = 3.0\ngenerated_price = 5.0\n"
    )
    records = [
        Record(id=word, task="g2p", prompt=f"g2p: {word}", references=["large answer"])
        for word in ("cat", "dog", "ant")
    ]
    with EdgeClient.open(path, OpenOptions(threads=1), calibrated=False) as client:
        record_trace(client, records, trace)
        content = read_cascade_file(path)
        money = recorded_queries(client.cascade, content, trace, unit="money", judged=True)
        flops = recorded_queries(client.cascade, content, trace, judged=True)
    assert money.sample.right is not None
    assert money.sample.right.tolist() == [[False, True]] * 3
    # 4 tokens read, 3 written, 1000 parameters: as the scripted cloud says.
    assert money.sample.costs[1].tolist() == [[pytest.approx(27e-6)] * 3]
    assert flops.sample.costs[1].tolist() == [[2 * 1000 * 7.0] * 3]
    assert money.identified


def test_members_at_addresses_vote_at_the_files_prices_and_weights(
    scripted_cloud: Any, folders: list[Path], tmp_path: Path
) -> None:
    path, trace = tmp_path / "cascade.toml", tmp_path / "trace.jsonl"
    with scripted() as other, scripted() as third:
        other.says(text=", of another")
        other.info.model.name, third.info.model.name = "other", "third"
        addresses = [scripted_cloud.address, other.address, third.address]
        terms = ["prompt_price = 3", "weight = 3", "generated_price = 5"]
        members = ", ".join(
            f'{{ address = "{address}", {term} }}'
            for address, term in zip(addresses, terms, strict=True)
        )
        path.write_text(
            f'[[tiers]]\nmembers = ["{folders[0]}"]\n'
            f"[[tiers]]\nmembers = [{members}]\n"
            'gate = { rule = "vote" }\n'
            f'[[tiers]]\nmembers = ["{folders[2]}"]\n'
        )
        asked = [Record(id="1", task="g2p", prompt="g2p: cat", references=["large answer"])]
        with EdgeClient.open(path, OpenOptions(threads=1), calibrated=False) as client:
            record_trace(client, asked, trace)
            content = read_cascade_file(path)
            money = recorded_queries(client.cascade, content, trace, unit="money", judged=True)
            flops = recorded_queries(client.cascade, content, trace, judged=True)
            # Another weight decides otherwise, and another number of members is another cascade.
            even = read_cascade_file(rewritten(path, ", weight = 3", ""))
            voted = recorded_queries(client.cascade, even, trace, judged=True)
        fewer = rewritten(path, f'{{ address = "{third.address}", {terms[2]} }}', "")
        with (
            EdgeClient.open(fewer, OpenOptions(threads=1), calibrated=False) as client,
            pytest.raises(
                CalibrationError, match=r"was of 3 members elsewhere, not of 2 members elsewhere"
            ),
        ):
            recorded_queries(client.cascade, read_cascade_file(fewer), trace, judged=True)
    # Two of five weights say "large answer"; the third of them would be heard whoever decides.
    assert money.sample.scores[0, 1] == 2 / 5
    assert money.sample.right is not None
    assert money.sample.right[0, 1] == False  # noqa: E712 - numpy's
    assert voted.sample.scores[0, 1] == 1 / 3
    assert voted.sample.right is not None
    assert voted.sample.right[0, 1]
    assert money.sample.costs[1].tolist() == [[pytest.approx((4 * 3 + 3 * 5) / 1e6)]]
    assert flops.sample.costs[1].tolist() == [[3 * 2 * 1000 * 7.0]]


def rewritten(path: Path, old: str, new: str) -> Path:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return path


def every(change: Callable[[TierAnswer], TierAnswer], place: int) -> Callable[[Trace], Trace]:
    """The trace with what one tier said changed in every record."""

    def changed(trace: Trace) -> Trace:
        records = []
        for record in trace.records:
            tiers = list(record.tiers)
            tiers[place] = change(answers_of(record)[place])
            records.append(replace(record, tiers=tiers))
        return trace._replace(records=records)

    return changed


def silenced(reason: str | None) -> Callable[[Trace], Trace]:
    """The first record without the second tier's answer."""

    def changed(trace: Trace) -> Trace:
        first, *rest = trace.records
        small, _, large = first.tiers
        return trace._replace(
            records=[replace(first, tiers=[small, None, large], reason=reason), *rest]
        )

    return changed


def header(**changes: Any) -> Callable[[Trace], Trace]:
    """The trace with another second tier in its header."""

    def changed(trace: Trace) -> Trace:
        small, three, large = trace.header.tiers
        tiers = [small, replace(three, **changes), large]
        return trace._replace(header=replace(trace.header, tiers=tiers))

    return changed


def of_two_tiers(trace: Trace) -> Trace:
    header, records = trace
    return Trace(
        replace(header, tiers=header.tiers[:2]),
        [replace(one, tiers=one.tiers[:2], answered_by=0) for one in records],
    )


def others(trace: Trace) -> Trace:
    """As if the second member of the vote had another program."""
    members = [*trace.header.tiers[1].members]
    members[1] = replace(members[1], program_sha256="f" * 64)
    return header(members=members)(trace)


def surer(answer: TierAnswer) -> TierAnswer:
    return replace(
        answer,
        members=[
            replace(one, logprobs=[value / 2 for value in one.logprobs]) for one in answer.members
        ],
    )


def hushed(answer: TierAnswer) -> TierAnswer:
    last = replace(answer.members[-1], text=None)
    return replace(answer, members=[*answer.members[:-1], last])


def sizeless(trace: Trace) -> Trace:
    members = [replace(one, parameters=0) for one in trace.header.tiers[1].members]
    return header(members=members)(trace)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (of_two_tiers, "recorded with another cascade: of 2 tiers, not 3"),
        (
            header(place="cloud"),
            "recorded with another cascade: tier 'three' was elsewhere, not of 3 members here",
        ),
        (others, "recorded with another artifact than .*: program ffffffffffff, not"),
        (every(surer, 0), "gives 0 of 8 of its answers"),
        (silenced(None), "tier 'three' was never asked 1 of 80 queries"),
        (
            every(lambda one: replace(one, stopped_early=True), 1),
            "answer of tier 'three' to '0' was",
        ),
        (every(hushed, 1), "not finished; use a trace of `escalade record`"),
        (every(lambda one: replace(one, correct=None), 2), "lacks references"),
        (sizeless, "does not say how many parameters it has"),
    ],
)
def test_a_trace_that_will_not_do(
    recording: Any,
    cascade: Cascade,
    content: CascadeFile,
    tmp_path: Path,
    change: Callable[[Trace], Trace],
    says: str,
) -> None:
    changed = change(read_trace(recording.trace))
    write_trace(tmp_path / "trace.jsonl", *changed)
    with pytest.raises(CalibrationError, match=says):
        recorded_queries(cascade, content, tmp_path / "trace.jsonl", unit="flops", judged=True)


def test_what_is_not_said_and_not_needed(
    recording: Any, cascade: Cascade, content: CascadeFile, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"

    def queries(change: Callable[[Trace], Trace]) -> Any:
        write_trace(path, *change(read_trace(recording.trace)))
        return recorded_queries(cascade, content, path, judged=False)

    left_out = queries(silenced("UNAVAILABLE"))
    assert (left_out.sample.n, left_out.asked) == (79, 80)
    assert queries(every(lambda one: replace(one, correct=None), 2)).sample.right is None
    assert queries(sizeless).unit == "calls"
    known = read_trace(recording.trace).header.tiers[1].members
    nameless = [replace(one, program_sha256=None) for one in known]
    assert not queries(header(members=nameless)).identified
