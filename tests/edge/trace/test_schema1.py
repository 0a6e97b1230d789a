"""Traces of schema 1, as earlier versions wrote them: the same facts, said as today."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from escalade.edge.errors import DataError
from escalade.edge.trace import (
    Link,
    MemberAnswer,
    MemberInfo,
    TierAnswer,
    TierInfo,
    TraceAppender,
    read_trace,
)

HEADER = (
    '{"schema":1,"small":{"name":"small-cat-xent","parameters":836224,"program_sha256":"5b1e"},'
    '"large":{"name":"large","parameters":9650176,"program_sha256":null},"rule":"mean",'
    '"threshold":0.0725,"created":"2026-01-31T12:00:00+00:00"}'
)
ALONE = HEADER.replace('{"name":"large","parameters":9650176,"program_sha256":null}', "null")
OLDEST = HEADER.replace(',"program_sha256":"5b1e"', "").replace(',"program_sha256":null', "")
SMALL = (
    '"small":{"text":"K AE T","logprobs":[-0.5,-0.25],"prompt_tokens":9,"generated_tokens":2,'
    '"generate_s":0.0125,"correct":false,"stopped_early":%s}'
)
LARGE = (
    '"large":{"text":"K AE1 T","prompt_tokens":9,"generated_tokens":4,"correct":true,"attempts":2,'
    '"round_trip_s":0.125,"server_s":0.0625,"bytes_up":210,"draft_bytes":60,"bytes_down":88}'
)
RECORD = (
    '{"id":"q1","task":"g2p","prompt":"g2p: cat","references":["K AE1 T"],'
    f"{SMALL % 'false'},{LARGE},"
    '"score":0.375,"outcome":"deferred","total_s":0.1375,"reason":null}'
)
STOPPED = RECORD.replace(SMALL % "false", SMALL % "true")
LOCAL = RECORD.replace(LARGE, '"large":null').replace('"deferred"', '"answered"')
LOST = LOCAL.replace('"answered"', '"degraded"').replace('"reason":null', '"reason":"UNAVAILABLE"')
BROKEN = RECORD.replace("[-0.5,-0.25]", "[null,-0.25]").replace('"score":0.375', '"score":null')

DEVICE = TierInfo(
    name="device",
    place="device",
    members=[MemberInfo(name="small-cat-xent", parameters=836224, program_sha256="5b1e")],
    rule="mean",
    threshold=0.0725,
)
SAID = TierAnswer(
    text="K AE T",
    members=[
        MemberAnswer(
            member=0,
            text="K AE T",
            logprobs=[-0.5, -0.25],
            prompt_tokens=9,
            generated_tokens=2,
            seconds=0.0125,
            correct=False,
        )
    ],
    score=0.375,
    correct=False,
    seconds=0.0125,
)


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(*lines: str) -> Path:
        path = tmp_path / "old.jsonl"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


def test_both_tiers_are_there(written: Any) -> None:
    trace = read_trace(written(HEADER, RECORD, LOCAL))
    assert trace.header.tiers == [
        DEVICE,
        TierInfo(
            name="cloud", place="cloud", members=[MemberInfo(name="large", parameters=9650176)]
        ),
    ]
    assert (trace.header.schema, trace.header.currency) == (2, "USD")
    assert trace.header.created == "2026-01-31T12:00:00+00:00"
    deferred, local = trace.records
    small, large = deferred.tiers
    assert small == SAID
    assert large == TierAnswer(
        text="K AE1 T",
        members=[
            MemberAnswer(
                member=0,
                text="K AE1 T",
                logprobs=[],
                prompt_tokens=9,
                generated_tokens=4,
                seconds=0.0625,
                correct=True,
            )
        ],
        score=None,
        correct=True,
        seconds=0.125,
        link=Link(
            attempts=2,
            round_trip_s=0.125,
            server_s=0.0625,
            bytes_up=210,
            draft_bytes=60,
            bytes_down=88,
        ),
    )
    assert (deferred.answered_by, deferred.outcome, deferred.total_s) == (1, "deferred", 0.1375)
    assert (deferred.id, deferred.task, deferred.prompt) == ("q1", "g2p", "g2p: cat")
    assert (deferred.references, deferred.reason) == (["K AE1 T"], None)
    assert (local.tiers, local.answered_by, local.outcome) == ([SAID, None], 0, "answered")


def test_what_was_left_out_by_the_earliest_is_not_needed(written: Any) -> None:
    trace = read_trace(written(OLDEST, RECORD.replace(',"stopped_early":false', "")))
    assert trace.header.tiers[0].members[0].program_sha256 is None
    assert trace.records[0].tiers[0] == SAID


def test_an_artifact_alone_is_one_tier(written: Any) -> None:
    trace = read_trace(written(ALONE, LOCAL))
    assert trace.header.tiers == [DEVICE]
    assert trace.records[0].tiers == [SAID]


@pytest.mark.parametrize("records", [[LOST], [LOST, RECORD], [LOCAL, RECORD], [RECORD]])
def test_a_cloud_that_was_silent_at_first_is_a_tier_that_nobody_knows(
    written: Any, records: list[str]
) -> None:
    trace = read_trace(written(ALONE, *records))
    assert trace.header.tiers == [DEVICE, TierInfo(name="cloud", place="cloud", members=[])]
    assert [record.outcome for record in trace.records] == [
        json.loads(record)["outcome"] for record in records
    ]
    for record, line in zip(trace.records, records, strict=True):
        assert (record.tiers[1] is None) == (json.loads(line)["large"] is None)
        assert record.reason == json.loads(line)["reason"]


def test_what_was_stopped_and_what_was_no_number_stay_so(written: Any) -> None:
    stopped, broken = read_trace(written(HEADER, STOPPED, BROKEN)).records
    assert stopped.tiers[0] is not None
    assert stopped.tiers[0].stopped_early
    small = broken.tiers[0]
    assert small is not None
    assert small.score is not None
    assert math.isnan(small.score)
    assert math.isnan(small.members[0].logprobs[0])


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([HEADER], "no records; at least 1"),
        ([HEADER, "{"], ":2: not a valid"),
        ([HEADER, RECORD, RECORD.replace('"id"', '"di"')], ":3: not a valid TraceRecord: "),
        ([HEADER, RECORD.replace(LARGE, '"large":null')], ":2: not a valid TraceRecord: outcome"),
        ([HEADER.replace('"rule"', '"ruler"'), RECORD], ":1: not a valid TraceHeader"),
        ([HEADER.replace('"schema":1', '"schema":3'), RECORD], "reads 1 and 2"),
    ],
)
def test_a_bad_line_is_named(written: Any, lines: list[str], says: str) -> None:
    path = written(*lines)
    with pytest.raises(DataError) as caught:
        read_trace(path)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_is_added_to_one(written: Any) -> None:
    path = written(HEADER, RECORD)
    before = path.read_bytes()
    header = read_trace(path).header
    with pytest.raises(DataError, match="trace schema 1 is read and not added to; name another"):
        TraceAppender(path, header)
    assert path.read_bytes() == before
