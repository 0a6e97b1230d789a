"""Opens a cascade: an artifact's folder, or a `cascade.toml` that names tiers; asks no query."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from escalade.edge.cascade import Cascade, not_calibrated
from escalade.edge.cascade_file import (
    GateTable,
    OnOutage,
    OutboxTable,
    TierTable,
    addressed_members,
    read_cascade_file,
    tier_name,
)
from escalade.edge.deferral import Gate
from escalade.edge.errors import ArtifactError, CascadeError
from escalade.edge.generation import Artifact
from escalade.edge.opening.gates import open_gate
from escalade.edge.opening.guarding import Ways, guard_of
from escalade.edge.opening.members import Members
from escalade.edge.opening.options import OpenOptions, given_of_artifacts
from escalade.edge.opening.remote import open_remote_ensemble, open_remote_tier
from escalade.edge.outbox import OutboxOptions, default_path
from escalade.edge.tiers import ArtifactTier, EnsembleTier, Member, RemoteTier, Tier
from escalade.v1.channel import plaintext_of


def open_cascade(
    path: Path, options: OpenOptions, *, cloud: str | None = None, calibrated: bool = True
) -> Cascade:
    """Open an artifact folder or a `cascade.toml`.

    Args:
        path: an artifact is a cascade of one tier, or of two with `cloud`.
        options: see `OpenOptions`.
        cloud: `HOST:PORT` of a server; the last tier above an artifact.
        calibrated: whether every gate must have a threshold, and every member be the one that
            the file was calibrated with. What is to be calibrated is opened, and recorded in
            shadow mode, without.

    Raises:
        ArtifactError: see `Artifact.open`.
        CascadeError: see `read_cascade_file`; a member was changed; members' answers cannot be
            compared; or an option or `cloud` is given that the file says itself.
        CalibrationError: there is a tier to defer to but no threshold, or it is not finite; or
            nothing says what is likely.
        CloudError: an address is malformed.
    """
    if path.is_dir() or not path.exists():
        return _open_artifact(path, options, cloud, calibrated=calibrated)
    given = given_of_artifacts(options)
    if cloud is not None:
        given.append("cloud")
    if given:
        raise CascadeError(
            f"{path}: {', '.join(given)}: for artifacts; a cascade's file says it for each tier"
        )
    content = read_cascade_file(path, calibrated=calibrated, max_memory=options.max_memory)
    members = Members(path, content, options, pinned=calibrated)
    tiers: list[Tier] = []
    gates: list[Gate | None] = []
    with ExitStack() as undo:
        guard = guard_of(path, content, options.policy)
        if guard is not None:
            undo.callback(guard.close)
        ways = Ways(options.through, guard)
        for index, table in enumerate(content.tiers):
            name, last = tier_name(table, index), index == len(content.tiers) - 1
            tiers.append(_open_tier(path, name, table, tiers, members, ways))
            undo.callback(tiers[-1].close)
            gates.append(
                None
                if last and table.gate is None and (index or table.address)
                else open_gate(path, name, table, tiers[-1].opened, options, members.encoder(table))
            )
            gate = gates[-1]
            if calibrated and not last and gate is not None and gate.threshold is None:
                raise not_calibrated(f"{path}: the gate of tier {name!r}")
        cascade = Cascade(
            tiers=tiers,
            gates=gates,
            currency=content.currency,
            calibrated=calibrated,
            outbox=_outbox(path, options, content.on_outage, content.outbox),
            guard=guard,
        )
        undo.pop_all()
    return cascade


def _open_artifact(
    folder: Path, options: OpenOptions, cloud: str | None, *, calibrated: bool
) -> Cascade:
    artifact = Artifact.open(
        folder,
        threads=options.threads,
        max_memory=options.max_memory,
        trusted_key=options.trusted_key,
    )
    outbox = _outbox(folder, options, "degrade", OutboxTable())
    member = Member(artifact)
    table = TierTable(gate=GateTable(threshold=options.threshold, early=options.early))
    gate = open_gate(folder, None, table, [member], options)
    tiers: list[Tier] = [ArtifactTier(member, name="device")]
    gates: list[Gate | None] = [gate]
    if cloud is not None:
        # gRPC is opened only for a tier elsewhere.
        from escalade.edge.wire import ClientFiles, CloudClient

        try:
            plaintext = plaintext_of(tls=options.tls, plaintext=options.plaintext)
        except ValueError as error:
            raise CascadeError(f"{cloud}: {error}") from error
        client = CloudClient(
            cloud,
            deadline_s=options.deadline_s,
            ca_cert=options.ca_cert,
            plaintext=plaintext,
            files=ClientFiles(options.token_file, options.client_cert, options.client_key),
            through=options.through,
        )
        # An address that is none is said first.
        if calibrated and gate.threshold is None:
            client.close()
            raise not_calibrated(str(folder))
        tiers.append(RemoteTier(client, reader=member, prompt_form=options.prompt_form))
        gates.append(None)
    return Cascade(tiers=tiers, gates=gates, calibrated=calibrated, outbox=outbox)


def _outbox(
    path: Path, options: OpenOptions, on_outage: OnOutage, table: OutboxTable
) -> OutboxOptions | None:
    """Where the cascade at `path` keeps queries; None where it does not.

    Raises:
        CascadeError: a file is named, and none is wanted.
    """
    if (options.on_outage or on_outage) == "degrade":
        if options.outbox is not None:
            raise CascadeError(f"{options.outbox}: outbox: goes with on_outage 'queue'")
        return None
    named = None if table.path is None else path.parent / table.path
    return OutboxOptions(
        options.outbox or named or default_path(),
        str(path.resolve()),
        max_queries=table.max_queries,
        max_age_s=table.max_age_s,
    )


def _open_tier(
    path: Path,
    name: str,
    table: TierTable,
    below: Sequence[Tier],
    members: Members,
    ways: Ways,
) -> Tier:
    # No ids of a classifier travel.
    readers = [member for tier in below for member in tier.opened if member.fingerprint]
    if table.address is not None:
        prices = (table.prompt_price, table.generated_price)
        return open_remote_tier(path, name, table, table.address, table, prices, readers, ways)
    if addressed := addressed_members(table):
        return open_remote_ensemble(path, name, table, addressed, readers, ways)
    opened = members.open(table)
    if len(opened) == 1:
        return ArtifactTier(opened[0], name=name)
    try:
        return EnsembleTier(
            opened,
            name=name,
            side_by_side=table.side_by_side,
            at_once=members.at_once(table),
            member_deadline_s=table.member_deadline_s,
        )
    except ArtifactError as error:
        raise CascadeError(f"{path}: tier {name!r}: {error}") from error
