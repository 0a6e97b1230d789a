"""Lines of a trace: what is written reads back, numbers that are not finite and all."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.edge.errors import DataError
from escalade.edge.trace import (
    TRACE_SCHEMA,
    Hop,
    Link,
    MemberAnswer,
    MemberCall,
    MemberInfo,
    TierAnswer,
    TierInfo,
    TraceAppender,
    TraceHeader,
    TraceRecord,
    read_trace,
    write_trace,
)
from escalade.edge.trace.lines import decode_line, encode_line

# Names of what JSON lacks are words too, and a model may say them.
text = st.text(st.characters(exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["null", "NaN", "Infinity", "-Infinity", "true", "1"]
)
number = st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e308])
count = st.integers(0, 2**53)
verdict = st.none() | st.booleans()
price = st.floats(0, 1e300)

links = st.builds(
    Link,
    attempts=count,
    round_trip_s=number,
    server_s=number,
    bytes_up=count,
    draft_bytes=count,
    bytes_down=count,
)
places = st.sampled_from(["device", "gateway", "cloud"])
hops = st.builds(
    Hop,
    tier=text,
    place=places,
    model=text,
    score=st.none() | number,
    threshold=st.none() | number,
    seconds=number,
    reason=text,
    silent=st.just(msgspec.UNSET) | st.lists(text, min_size=1, max_size=2),
)
models = st.builds(
    MemberInfo,
    name=text,
    parameters=count,
    program_sha256=st.none() | text,
    prompt_price=price,
    generated_price=price,
)
member_infos = st.builds(
    msgspec.structs.replace,
    models,
    models=st.just(msgspec.UNSET) | st.lists(models, min_size=4, max_size=4),
)
ran = st.builds(
    MemberAnswer,
    member=st.integers(0, 3),
    text=st.none() | text,
    logprobs=st.lists(number, max_size=3),
    prompt_tokens=count,
    generated_tokens=count,
    seconds=number,
    correct=verdict,
)
calls = st.builds(
    MemberCall,
    link=links,
    hops=st.lists(hops, max_size=2),
    models=st.lists(ran, max_size=2, unique_by=lambda one: one.member),
)
members = st.builds(msgspec.structs.replace, ran, call=st.just(msgspec.UNSET) | calls)
answers = st.builds(
    TierAnswer,
    text=text,
    members=st.lists(members, min_size=1, max_size=3, unique_by=lambda one: one.member),
    score=st.none() | number,
    correct=verdict,
    seconds=number,
    stopped_early=st.booleans(),
    link=st.none() | links,
    hops=st.lists(hops, max_size=2),
)


@st.composite
def traces(draw: Callable[..., Any]) -> tuple[TraceHeader, list[TraceRecord]]:
    tiers = draw(st.integers(1, 4))
    header = TraceHeader(
        schema=TRACE_SCHEMA,
        tiers=[
            TierInfo(
                name=draw(text),
                place=draw(places),
                members=draw(st.lists(member_infos, min_size=4, max_size=4)),
                side_by_side=draw(st.booleans()),
                rule=draw(st.none() | text),
                threshold=draw(st.none() | st.floats(allow_nan=False)),  # a gate's is finite
            )
            for _ in range(tiers)
        ],
        currency=draw(text),
        created=draw(text),
    )

    def record() -> TraceRecord:
        by = draw(st.integers(0, tiers - 1))
        return TraceRecord(
            id=draw(text),
            task=draw(text),
            prompt=draw(text),
            references=draw(st.lists(text, max_size=2)),
            tiers=[draw(answers if index == by else st.none() | answers) for index in range(tiers)],
            answered_by=by,
            outcome=draw(st.sampled_from(["answered", "deferred", "degraded"])),
            total_s=draw(number),
            reason=draw(st.none() | text),
        )

    return header, [record() for _ in range(draw(st.integers(1, 3)))]


def same(one: object, other: object) -> bool:
    """Equal, where NaN is NaN and 0 is not -0."""
    return repr(one) == repr(other)


@settings(deadline=None)
@given(traces())
def test_a_trace_reads_back(
    tmp_path_factory: pytest.TempPathFactory, trace: tuple[TraceHeader, list[TraceRecord]]
) -> None:
    header, records = trace
    folder = tmp_path_factory.mktemp("traces")
    assert write_trace(folder / "whole.jsonl", header, records) == len(records)
    read = read_trace(folder / "whole.jsonl")
    assert same(read.header, header)
    assert same(read.records, records)
    grown = folder / "grown.jsonl"
    for record in records:
        TraceAppender(grown, header).append(lambda: header, record)
    assert grown.read_bytes() == (folder / "whole.jsonl").read_bytes()


@given(st.data())
def test_one_number_that_is_not_finite_is_kept_wherever_it_stands(data: st.DataObject) -> None:
    member = MemberAnswer(
        member=0, text="a", logprobs=[-1.0], prompt_tokens=1, generated_tokens=1, seconds=0.1
    )
    link = Link(round_trip_s=0.1, server_s=0.1, bytes_up=1, bytes_down=1)
    hop = Hop(tier="t", place="cloud", model="m", score=0.1, threshold=0.1, seconds=0.1)
    answer = TierAnswer(
        text="a", members=[member], score=0.1, correct=None, seconds=0.1, link=link, hops=[hop]
    )
    record = TraceRecord(
        id="a",
        task="t",
        prompt="p",
        references=[],
        tiers=[answer],
        answered_by=0,
        outcome="answered",
        total_s=0.1,
    )
    raw = msgspec.to_builtins(record)
    floats = list(_floats(raw))
    assert len(floats) == 10
    node, key = data.draw(st.sampled_from(floats))
    node[key] = data.draw(st.sampled_from([math.nan, math.inf, -math.inf]))
    changed = msgspec.convert(raw, TraceRecord)
    line = encode_line(changed)
    json.loads(line, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert same(decode_line(line, TraceRecord), changed)


def _floats(node: Any) -> Any:
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if isinstance(value, float):
            yield node, key
        elif isinstance(value, dict | list):
            yield from _floats(value)


def test_a_line_without_them_is_plain_json() -> None:
    header = TraceHeader(
        schema=TRACE_SCHEMA, tiers=[TierInfo(name="t", place="device", members=[])], created=""
    )
    assert json.loads(encode_line(header)) == msgspec.to_builtins(header)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"[]", "Expected `object`"),
        (b'{"schema": 2}', "missing required field `tiers`"),
        (b'{"schema": 2, "tiers": [], "created": ""}', "at least 1 tier is needed"),
        (b'{"schema": 2, "tiers": [], "created": "", "x": 1}', "unknown field `x`"),
        (b'{"schema": 2, "tires": [], "created": ""}', "`tires`; did you mean 'tiers'?"),
        (b'{"schema": "two"}', "Expected `int`, got `str`"),
        (b'{"schema": 2, "tiers": [], "created": "\xff"}', "invalid start byte"),
        (
            b'{"schema": 2, "tiers": [{"name": "a", "place": "attic", "members": []}],'
            b' "created": ""}',
            "tiers[0].place must be one of cloud, device, gateway, got 'attic'",
        ),
        (
            b'{"schema": 2, "tiers": [{"name": "a", "place": "device", "members":'
            b' [{"name": "m", "parameters": 1, "prompt_price": -1}]}], "created": ""}',
            "prompt_price",
        ),
    ],
)
def test_a_bad_header_is_named_with_its_line(tmp_path: Path, line: bytes, says: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(line + b"\n")
    with pytest.raises(DataError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:1: not a valid ")
    assert says in message
    assert "\n" not in message
