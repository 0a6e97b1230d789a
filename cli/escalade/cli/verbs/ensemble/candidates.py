"""The models that an ensemble is picked from: named, recorded, written as a cascade's file.

Knows no choice.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

if TYPE_CHECKING:
    from escalade.edge import OpenOptions
    from escalade.edge.artifact import Manifest
    from escalade.edge.base import Record
    from escalade.edge.cascade_file import MemberTable
    from escalade.edge.trace import Trace
    from escalade.simulator.ensembles import Picked


class Candidates(NamedTuple):
    """Artifacts that may vote together."""

    #: Paths are relative to where the command runs.
    members: list[MemberTable]
    manifests: list[Manifest]
    #: Each another: the model's own, or the folder where several have one.
    names: list[str]
    currency: str

    def digests(self) -> list[str]:
        """What traces know them by."""
        from escalade.edge.artifact import program_digest

        return [program_digest(manifest) for manifest in self.manifests]


def candidates_of(models: Sequence[Path], trusted_key: Path | None) -> Candidates:
    """Read manifests, and check that their answers can be compared; no program is loaded.

    Args:
        models: artifacts' folders, and files that name members and prices (`cascade.toml`).
        trusted_key: must have signed each; None takes the keys that a file names.

    Raises:
        CascadeError: a file is not right.
        ArtifactError: a folder is no artifact, or not signed; or see `check_comparable`.
        CliError: two files count in different currencies.
    """
    from escalade.cli.errors import CliError
    from escalade.edge.artifact import check_signature, read_manifest
    from escalade.edge.cascade_file import (
        CascadeFile,
        MemberTable,
        member_tables,
        read_cascade_file,
    )
    from escalade.edge.tiers import check_comparable

    members: list[MemberTable] = []
    currencies: dict[str, Path] = {}
    for path in models:
        if path.is_dir() or not path.exists():
            members.append(MemberTable(artifact=str(path)))
            continue
        content = read_cascade_file(path, calibrated=False)
        currencies.setdefault(content.currency, path)
        members += [
            _from(path, entry, content.trusted_key)
            for table in content.tiers
            for entry in member_tables(table)
        ]
    if len(currencies) > 1:
        (one, first), (other, second) = list(currencies.items())[:2]
        raise CliError(f"{first} counts in {one} and {second} in {other}; prices must be in one")
    if len(members) < 2:  # noqa: PLR2004
        raise CliError(f"models to pick from must be at least 2, got {len(members)}")
    folders = [Path(entry.artifact) for entry in members]
    for folder, entry in zip(folders, members, strict=True):
        if (key := trusted_key or entry.trusted_key) is not None:
            check_signature(folder, Path(key))
    manifests = [read_manifest(folder) for folder in folders]
    check_comparable(list(zip(folders, manifests, strict=True)))
    own = [manifest.model.name for manifest in manifests]
    names = [
        name if times == 1 else str(folder)
        for name, times, folder in zip(own, map(Counter(own).get, own), folders, strict=True)
    ]
    return Candidates(
        members, manifests, names, next(iter(currencies), CascadeFile(tiers=[]).currency)
    )


def _from(path: Path, entry: MemberTable, key: str | None) -> MemberTable:
    """A member of a file, by paths from here; it may have been changed since it was calibrated."""
    key = entry.trusted_key or key
    return replace(
        entry,
        artifact=str(path.parent / entry.artifact),
        trusted_key=None if key is None else str(path.parent / key),
        manifest_sha256=None,
    )


def record_all(
    candidates: Candidates,
    records: Sequence[Record],
    options: OpenOptions,
    *,
    where: Callable[[Record], str],
    side_by_side: bool,
    progress: Callable[[int, int], None],
) -> Trace:
    """Ask every model every query, one after the other.

    Args:
        candidates: all are open at once.
        records: the queries.
        options: threads, memory and key.
        where: what messages call a record.
        side_by_side: each computes with the threads that it would have beside the others.
        progress: called with (queries asked, queries in all).

    Raises:
        EdgeError: a model cannot be opened, or take a query.
    """
    from escalade.edge import Cascade, EdgeClient
    from escalade.edge.cascade_file import CascadeFile, TierTable
    from escalade.edge.deferral import Gate, Vote
    from escalade.edge.opening import Members
    from escalade.edge.shadow import record_trace
    from escalade.edge.tiers import EnsembleTier
    from escalade.edge.trace import read_trace

    table = TierTable(members=list(candidates.members), side_by_side=side_by_side)
    content = CascadeFile(currency=candidates.currency, tiers=[table])
    opened = Members(Path("candidates"), content, options, pinned=False).open(table)
    cascade = Cascade(
        tiers=[EnsembleTier(opened)],
        gates=[Gate(rule=Vote(), threshold=None)],
        currency=candidates.currency,
    )
    with closing(EdgeClient(cascade)) as client, TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.jsonl"
        record_trace(client, records, trace, where=where, progress=progress)
        return read_trace(trace)


def write_cascade(
    out: Path,
    candidates: Candidates,
    picked: Picked,
    prices: Mapping[str, tuple[float, float]],
    *,
    head: str,
) -> None:
    """Write a cascade of one tier, which opens at once.

    Args:
        out: the file; members are named relative to its folder.
        candidates: among whom the members are.
        picked: among them.
        prices: by a model's own name, money for a million tokens (read, written); of others those
            that their file has.
        head: a comment, one line.
    """
    import tomlkit

    from escalade.edge.base import atomic_write
    from escalade.edge.deferral import VOTE

    base = os.path.realpath(out.parent)
    tables = tomlkit.array().multiline(True)
    several, alike = len(picked.order) > 1, len(set(picked.weights)) == 1
    for place, weight in zip(picked.order, picked.weights, strict=True):
        entry = candidates.members[place]
        table = tomlkit.inline_table()
        table["artifact"] = os.path.relpath(Path(entry.artifact).absolute(), base)
        if entry.trusted_key is not None:
            table["trusted_key"] = os.path.relpath(Path(entry.trusted_key).absolute(), base)
        if several and not alike:
            table["weight"] = weight
        own = entry.prompt_price, entry.generated_price
        read, written = prices.get(candidates.manifests[place].model.name, own)
        if read or written:
            table["prompt_price"], table["generated_price"] = read, written
        tables.append(table)
    tier = tomlkit.table()
    tier["members"] = tables
    if several and picked.side_by_side:
        tier["side_by_side"] = True
    if several and picked.agreement != VOTE:
        tier["gate"] = {"rule": picked.agreement}
    document = tomlkit.document()
    document.add(tomlkit.comment(head))
    document["currency"] = candidates.currency
    tiers = tomlkit.aot()
    tiers.append(tier)
    document["tiers"] = tiers
    with atomic_write(out) as stream:
        stream.write(tomlkit.dumps(document).encode())
