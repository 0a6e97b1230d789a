"""Traces: what is written reads back, however it was written; nothing is half-written."""

from __future__ import annotations

import resource
import shutil
from pathlib import Path

import msgspec
import pytest
from small_traces import device, header, record, tier_answer

from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.artifact import read_manifest
from escalade.edge.errors import DataError
from escalade.edge.trace import (
    TRACE_SCHEMA,
    MemberInfo,
    TierAnswer,
    TierInfo,
    TraceAppender,
    TraceRecord,
    read_trace,
    write_trace,
)
from escalade.edge.trace.lines import encode_line

RECORD = b'{"id": "a", "task": "t", "prompt": "p", "references": ["r"]}\n'


def _tier(**changes: object) -> TierInfo:
    return msgspec.structs.replace(device(model="s"), **changes)


HEADER = header(_tier())


def _record(identity: str) -> TraceRecord:
    return record(identity, tier_answer())


def test_a_trace_reads_back_however_it_was_written(tmp_path: Path) -> None:
    whole, grown = tmp_path / "whole.jsonl", tmp_path / "grown.jsonl"
    made = [_record("a"), _record("b")]
    assert write_trace(whole, HEADER, made) == 2
    for one in made:
        TraceAppender(grown, HEADER).append(lambda: HEADER, one)
    assert grown.read_bytes() == whole.read_bytes()
    assert read_trace(whole) == (HEADER, made)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", ": empty; the first line of a trace is its header"),
        (b"\0" * 64, ": empty; the first line of a trace is its header"),
        (encode_line(HEADER)[:-20], ": empty; the first line of a trace is its header"),
        ('{"schema":2,"created":"\N{BLACK STAR}'.encode()[:-1], ": empty; the first line"),
        (b"\x89PNG\r", ":1: not UTF-8 text: byte 0x89 at offset 0"),
        (b"\x7fELF\2\1\xe8\3", ":1: not UTF-8 text: byte 0xe8 at offset 6"),
        (b'{"schema":2,"\xff', ":1: not UTF-8 text: byte 0xff at offset 13"),
        (b"GGUF\3\0\0\0", ":1: not a valid record: JSON is malformed"),
        (b"a letter", ":1: not a valid record: JSON is malformed"),
        (encode_line(HEADER) + b"\x89PNG", ": no records; at least 1 query is needed"),
        (encode_line(HEADER) + b"\x89PNG\n", ":2: not UTF-8 text: byte 0x89"),
    ],
)
def test_what_is_no_trace_is_said(tmp_path: Path, content: bytes, says: str) -> None:
    """A power cut leaves half a line, which is no fault; a binary file is no such half."""
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_trace(path)
    assert f"{path}{says}" in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"rule": "min"}, "rule of tier 'device' mean, this client has min; name another file"),
        ({"threshold": 0.25}, "threshold of tier 'device' 0.5, this client has 0.25; name"),
        (
            {"members": [MemberInfo(name="s", parameters=2)]},
            "tier 'device' 's' of 1 parameters, this client has 's' of 2 parameters; name",
        ),
        (
            {"members": [MemberInfo(name="s", parameters=1, program_sha256="ab" * 32)]},
            "tier 'device' 's' of 1 parameters, this client has 's' of 1 parameters (program",
        ),
        (
            {"members": [*_tier().members, MemberInfo(name="t", parameters=1)]},
            "tier 'device' 's' of 1 parameters, this client has in turn 's' of 1 parameters, 't'",
        ),
        ({"place": "cloud"}, "place of tier 'device' device, this client has cloud; name"),
    ],
)
def test_a_trace_takes_no_records_of_another_client(
    tmp_path: Path, changed: dict[str, object], says: str
) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, HEADER, [_record("a")])
    other = msgspec.structs.replace(HEADER, tiers=[_tier(**changed)])
    with pytest.raises(DataError) as caught:
        TraceAppender(path, other)
    assert str(caught.value).startswith(f"{path}: recorded under {says}")
    later = msgspec.structs.replace(HEADER, created="2026-02-02T00:00:00+00:00")
    TraceAppender(path, later).append(lambda: later, _record("c"))
    assert [one.id for one in read_trace(path).records] == ["a", "c"]


def test_a_record_that_does_not_fit_on_the_disk_leaves_the_trace_whole(tmp_path: Path) -> None:
    # A limit on the file's size stands for the full disk: the first part of a write succeeds.
    path = tmp_path / "trace.jsonl"
    write_trace(path, HEADER, [_record("a")])
    trace = TraceAppender(path, HEADER)
    before = path.read_bytes()
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 20, old[1]))
    try:
        with pytest.raises(DataError, match="no record was added: File too large"):
            trace.append(lambda: HEADER, _record("b"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
    assert path.read_bytes() == before
    trace.append(lambda: HEADER, _record("c"))
    assert [one.id for one in read_trace(path).records] == ["a", "c"]


def test_a_trace_that_fails_on_the_way_leaves_nothing(tmp_path: Path) -> None:
    def broken() -> object:
        yield _record("a")
        raise RuntimeError("the cloud went away")

    with pytest.raises(RuntimeError):
        write_trace(tmp_path / "trace.jsonl", HEADER, broken())  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_trace_of_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    newer = msgspec.structs.replace(HEADER, schema=TRACE_SCHEMA + 1)
    write_trace(path, newer, [_record("a")])
    with pytest.raises(DataError, match=f"schema {TRACE_SCHEMA + 1}; this version reads"):
        read_trace(path)


def test_records_are_not_a_trace(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_bytes(RECORD)
    with pytest.raises(DataError, match=":1: not a valid TraceHeader"):
        read_trace(path)
    with pytest.raises(DataError, match="not a valid TraceHeader"):
        TraceAppender(path, HEADER)
    assert path.read_bytes() == RECORD


def test_a_trace_takes_no_records_of_more_tiers_or_members_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    two = [MemberInfo(name=name, parameters=1) for name in "ab"]
    ours = msgspec.structs.replace(HEADER, tiers=[_tier(members=two)])
    write_trace(path, ours, [_record("a")])
    more = msgspec.structs.replace(HEADER, tiers=[_tier(members=two), _tier(name="more")])
    with pytest.raises(DataError, match="under number of tiers 1, this client has 2; name"):
        TraceAppender(path, more)
    beside = msgspec.structs.replace(HEADER, tiers=[_tier(members=two, side_by_side=True)])
    with pytest.raises(DataError, match="in turn 'a' .*, this client has side by side 'a'"):
        TraceAppender(path, beside)
    # Who answers over a link may change, and prices say nothing of who answers.
    dearer = [MemberInfo(name=name, parameters=1, prompt_price=2.0) for name in "ab"]
    TraceAppender(path, msgspec.structs.replace(HEADER, tiers=[_tier(members=dearer)]))


def test_two_models_of_one_name_and_size_are_two(
    float_artifact: Path, other_weights: Path, tmp_path: Path
) -> None:
    path = tmp_path / "trace.jsonl"
    options = OpenOptions(threshold=0.5)
    with EdgeClient.open(float_artifact, options, trace=path) as client:
        client.ask("g2p: cascade")
    before = path.read_bytes()
    with pytest.raises(DataError, match=r"recorded under tier 'device' .* \(program") as caught:
        EdgeClient.open(other_weights, options, trace=path)
    was, now = (read_manifest(folder).model for folder in (float_artifact, other_weights))
    assert (was.name, was.parameters) == (now.name, now.parameters)
    assert str(caught.value).count(f"{was.name!r} of {was.parameters} parameters") == 2
    assert path.read_bytes() == before


@pytest.fixture
def other_weights(tiny_model_dir: Path, tmp_path: Path) -> Path:
    """Of the tiny model's name, shape and size."""
    import torch
    from transformers import AutoModelForCausalLM

    from escalade.export.artifact.artifact import export_artifact

    folder = Path(shutil.copytree(tiny_model_dir, tmp_path / tiny_model_dir.name))
    model = AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(9)
    for parameter in model.parameters():
        parameter.data.add_(0.01 * torch.randn_like(parameter))
    model.save_pretrained(folder)
    out = tmp_path / "again"
    export_artifact(folder, out, golden_prompts=["g2p: a"], max_new_tokens=47)
    return out


def test_two_that_begin_one_trace_write_one_header(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    one, two = TraceAppender(path, HEADER), TraceAppender(path, HEADER)
    one.append(lambda: HEADER, _record("a"))
    two.append(lambda: HEADER, _record("b"))
    one.append(lambda: HEADER, _record("c"))
    assert [one.id for one in read_trace(path).records] == ["a", "b", "c"]
    other = msgspec.structs.replace(HEADER, tiers=[_tier(rule="min")])
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    late = TraceAppender(empty, other)
    TraceAppender(empty, HEADER).append(lambda: HEADER, _record("a"))
    before = empty.read_bytes()
    with pytest.raises(DataError, match="recorded under rule of tier 'device' mean"):
        late.append(lambda: other, _record("b"))
    assert empty.read_bytes() == before


def _changed(**changes: object) -> TraceRecord:
    return msgspec.structs.replace(_record("b"), **changes)


def _members(*places: int) -> list[TierAnswer]:
    tier = _record("b").tiers[0]
    assert tier is not None
    (member,) = tier.members
    members = [msgspec.structs.replace(member, member=place) for place in places]
    return [msgspec.structs.replace(tier, members=members)]


@pytest.mark.parametrize(
    ("record", "says"),
    [
        (_changed(tiers=[]), "0 tiers, the header has 1"),
        (_changed(tiers=[None, None]), "2 tiers, the header has 1"),
        (_changed(tiers=[None]), "answered_by is 0, and that tier has no answer"),
        (_changed(answered_by=1), "answered_by is 1, and that tier has no answer"),
        (_changed(tiers=_members()), "tier 'device': members must be 1 or more of 1"),
        (_changed(tiers=_members(1)), "tier 'device': members must be 1 or more of 1"),
        (_changed(tiers=_members(0, 0)), "tier 'device': members must be 1 or more of 1"),
        (_changed(answered_by=-1), "answered_by must be at least 0"),
        (
            _changed(outcome="lost"),
            "outcome must be one of answered, deferred, degraded, got 'lost'",
        ),
    ],
)
def test_a_record_that_does_not_fit_its_header_is_named_with_its_line(
    tmp_path: Path, record: TraceRecord, says: str
) -> None:
    path = tmp_path / "trace.jsonl"
    write_trace(path, HEADER, [_record("a"), record])
    with pytest.raises(DataError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}:3: not a valid TraceRecord: {says}")


def test_who_answers_elsewhere_need_not_be_known(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    far = _tier(name="far", place="cloud", members=[], rule=None, threshold=None)
    header = msgspec.structs.replace(HEADER, tiers=[_tier(), far])
    (near,) = _record("a").tiers
    record = _changed(tiers=[near, *_members(0, 4)], answered_by=1)
    write_trace(path, header, [record])
    assert read_trace(path).records == [record]
    write_trace(path, msgspec.structs.replace(HEADER, tiers=[_tier(members=[])]), [_record("a")])
    with pytest.raises(DataError, match="members must be 1 or more of 0"):
        read_trace(path)
