"""A pool: what every member says to every query of a task, recorded once; knows no cascade.

It is a trace of `escalade record`, of as many tiers as there are members, each of one artifact and
asked every query. The large model that was asked elsewhere is its last tier.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from benchmarks.study_ensembles import language, zoo
from benchmarks.study_ensembles.tasks import TEST, Item, Large, Task, parts_of

from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.base import Record
from escalade.edge.shadow import record_trace
from escalade.edge.trace import (
    MemberAnswer,
    MemberInfo,
    TierAnswer,
    TierInfo,
    Trace,
    TraceRecord,
    is_correct,
    read_trace,
    write_trace,
)

#: Of a record: by what is chosen, and on what is measured.
VALID, MEASURED = "valid", "test"

Tell = Callable[[str, int, int], None]


def sizes_of(task: Task) -> dict[str, tuple[str, ...]]:
    """Names of a task's members, by size; the first size is the smallest."""
    sizes = language.SIZES if task.read is None else zoo.SIZES
    return {size.name: tuple(one.name for one in size.members) for size in sizes}


def pool_of(
    task: Task,
    seed: int,
    *,
    data: Path | None,
    encoder: Path | None,
    out: Path,
    progress: Tell,
) -> Trace:
    """A task's pool under a seed: read where it is, else made.

    Args:
        task: whose.
        seed: of the parts, and of what members learn by.
        data: where its texts lie; None of bundled ones.
        encoder: MiniLM's folder; None where language models answer.
        out: the study's folder.
        progress: called with what is done, how much of it, and of how much.
    """
    path = out / "pools" / f"{task.name}-{seed}.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        if task.read is None:
            trace = _written(seed, out, progress)
        else:
            assert data is not None and encoder is not None  # noqa: S101, PT018 - the caller's
            trace = _classified(task.read(data), task.large, seed, encoder, progress)
        write_trace(path, trace.header, trace.records)
    return read_trace(path)


def _written(seed: int, out: Path, progress: Tell) -> Trace:
    """Of language models; a query's own task is in its id."""
    records = [
        msgspec.structs.replace(one, id=f"{one.task}-{part}-{number}", task=part)
        for part, asked in zip((VALID, MEASURED), language.asked(seed), strict=True)
        for number, one in enumerate(asked)
    ]
    artifacts = language.make(out, seed, lambda what: progress(what, 0, 0))
    return _recorded(records, artifacts, progress)


def _classified(
    items: Sequence[Item], large: Large | None, seed: int, encoder: Path, progress: Tell
) -> Trace:
    parts = parts_of(items, seed)
    states = zoo.states_of(
        encoder,
        [item.text for item in parts.train],
        lambda done, total: progress("reading", done, total),
    )
    records = [
        Record(id=f"{part}-{number}", task=part, prompt=item.text, references=[item.label])
        for part, items in ((VALID, parts.valid), (MEASURED, parts.test[:TEST]))
        for number, item in enumerate(items)
    ]
    with TemporaryDirectory() as folder:
        artifacts: dict[str, Path] = {}
        for size in zoo.SIZES:
            artifacts |= zoo.make(size, states, parts.train, Path(folder), seed)
        trace = _recorded(records, artifacts, progress)
    return trace if large is None else _with_large(trace, large, [*parts.valid, *parts.test])


def _recorded(records: Sequence[Record], artifacts: Mapping[str, Path], progress: Tell) -> Trace:
    with TemporaryDirectory() as folder:
        cascade, trace = Path(folder) / "cascade.toml", Path(folder) / "pool.jsonl"
        cascade.write_text(_cascade(artifacts))
        with EdgeClient.open(cascade, OpenOptions(threads=1), calibrated=False) as client:
            record_trace(
                client,
                records,
                trace,
                progress=lambda done, total: progress("recording", done, total),
            )
        return read_trace(trace)


def _cascade(artifacts: Mapping[str, Path]) -> str:
    """One tier for each; a gate decides nothing where every tier is asked."""
    gates = ["gate = { rule = 'mean', threshold = 0.0 }"] * (len(artifacts) - 1) + [""]
    return "\n".join(
        f"[[tiers]]\nname = '{name}'\nmembers = ['{folder}']\n{gate}"
        for (name, folder), gate in zip(artifacts.items(), gates, strict=True)
    )


def _with_large(trace: Trace, large: Large, items: Sequence[Item]) -> Trace:
    """The trace with one more tier, of what the large model said.

    Its log-probabilities and seconds are not known, nor its tokens: it is charged those that MiniLM
    reads of the text, without a prompt around it, and one for the answer.
    """
    info = TierInfo(
        name="large",
        place="cloud",
        members=[MemberInfo(name=large.name, parameters=large.parameters)],
    )
    *lower, last = trace.header.tiers
    last = msgspec.structs.replace(last, rule="mean", threshold=0.0)
    header = msgspec.structs.replace(trace.header, tiers=[*lower, last, info])
    records = []
    for record, item in zip(trace.records, items, strict=True):
        below = record.tiers[-1]
        assert below is not None and item.large is not None  # noqa: S101, PT018 - all were asked
        records.append(_asked(record, item.large, below))
    return trace._replace(header=header, records=records)


def _asked(record: TraceRecord, said: str, below: TierAnswer) -> TraceRecord:
    correct = is_correct(said, record.references)
    read = below.members[0].prompt_tokens
    answer = TierAnswer(
        text=said,
        members=[
            MemberAnswer(
                member=0,
                text=said,
                logprobs=[],
                prompt_tokens=read,
                generated_tokens=1,
                seconds=0.0,
                correct=correct,
            )
        ],
        score=None,
        correct=correct,
        seconds=0.0,
    )
    tiers = [*record.tiers[:-1], msgspec.structs.replace(below, score=0.0), answer]
    return msgspec.structs.replace(record, tiers=tiers)
