"""`escalade store rollback`: back to an earlier version; fetches nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from escalade.cli.options import JsonOption, StoreArgument

if TYPE_CHECKING:
    from escalade.edge.store import Store
    from escalade.training.audit import Comparison, VersionAgreement


def rollback(
    store: StoreArgument,
    to: Annotated[
        str | None,
        typer.Option("--to", help="First characters of a version; default: the one before."),
    ] = None,
    audit: Annotated[
        Path | None,
        typer.Option(
            "--audit",
            metavar="TRACE",
            help="Go back only if the current version is worse, by the kept queries that a trace,"
            " or a folder of traces, has the expert's answer to.",
        ),
    ] = None,
    json: JsonOption = False,
) -> None:
    """Make the version before the current one current again."""
    from escalade.cli.errors import CliError
    from escalade.cli.output import note_console, print_json, result_console
    from escalade.edge.store import Store

    if audit is not None and to is not None:
        raise CliError("--audit compares with the version before; leave --to out")
    there = Store(store)
    found = None if audit is None else _compared(there, audit)
    if found is not None and not found.worse:
        before = now = there.current or ""
    else:
        before, now = there.rollback(
            to, waiting=lambda: note_console().print(f"{store}: waiting for another change")
        )
    if json:
        audited = {} if found is None else {"audit": found}
        print_json({"before": before, "current": now, **audited})
        return
    was = f"is {now[:12]}, was {before[:12]}" if now != before else f"stays {now[:12]}"
    result_console().print(f"{store}: current {was}")
    for line in () if found is None else _lines(found):
        result_console().print(line)


def _compared(store: Store, traces: Path) -> Comparison:
    """The current version and the one before it."""
    from escalade.edge.errors import StoreError
    from escalade.edge.trace import read_traces
    from escalade.training.audit import compare_versions, count_version

    current, previous = store.current, store.previous
    if current is None or previous is None:
        raise StoreError(f"{store.folder}: there are no two versions to compare")
    read = read_traces(traces)
    now, then = (count_version(read, store.manifest_of(one)) for one in (current, previous))
    return compare_versions(now, then)


def _lines(found: Comparison) -> Iterator[str]:
    known = "is" if found.worse else "is not known to be"
    yield f"the later version {known} worse than the earlier"
    yield f"earlier: {_agreement(found.before)}"
    yield f"later: {_agreement(found.current)}"


def _agreement(one: VersionAgreement) -> str:
    from escalade.edge.base import counted

    counts = one.counts
    asked = (
        f"{counted(counts.queries, 'query')}, {counts.kept} kept, {counts.audited} audited,"
        f" {counts.agreed} agreed"
    )
    if one.estimate is None:
        return f"nothing is known ({asked})"
    return f"{one.estimate:.1%} ({one.low:.1%} to {one.high:.1%}) agree with the expert ({asked})"
