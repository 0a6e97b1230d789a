"""Opens a cascade: an artifact's folder, or a `cascade.toml` that names tiers; asks no query."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from escalade.edge.cascade import Cascade, not_calibrated
from escalade.edge.cascade_file import (
    GateTable,
    MemberTable,
    OnOutage,
    OutboxTable,
    Spoken,
    TierTable,
    addressed_members,
    place_of,
    read_cascade_file,
    tier_name,
    voices_in,
)
from escalade.edge.deferral import (
    EMBEDDING,
    ROUTER,
    VOTE,
    Early,
    Gate,
    Medoid,
    agreement_named,
    rule_named,
)
from escalade.edge.errors import ArtifactError, CalibrationError, CascadeError
from escalade.edge.generation import Artifact, SentenceEncoder
from escalade.edge.guarding import Ways, guard_of
from escalade.edge.members import Members
from escalade.edge.outbox import OutboxOptions, default_path
from escalade.edge.policy import SYSTEM_PROVIDERS, Providers
from escalade.edge.tiers import (
    Acceptance,
    ArtifactTier,
    Drafts,
    EnsembleTier,
    Member,
    PromptForm,
    RemoteEnsembleTier,
    RemoteMember,
    RemoteTier,
    Tier,
)
from escalade.v1.channel import plaintext_of

if TYPE_CHECKING:
    from escalade.edge.wire import Through


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """How a cascade is opened.

    The first group is for artifacts; a cascade file says these for each of its tiers.
    """

    #: tau; None takes the manifest's.
    threshold: float | None = None
    #: Send token ids (the server shares the artifact's tokenizer) or text.
    prompt_form: PromptForm = "tokens"
    #: Seconds that a server has for one query.
    deadline_s: float = 10.0
    #: Root certificates (PEM) to trust, over TLS; the system's own if None.
    ca_cert: Path | None = None
    #: What a server is shown, see `ClientFiles`.
    token_file: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None
    #: Speak TLS, or not. If None, where a certificate is given or the host is not loopback.
    tls: bool | None = None
    #: The opposite, in another word.
    plaintext: bool | None = None

    #: When a response may end before it is whole; "likely" needs an artifact calibrated for it,
    #: and its own threshold.
    early: Early = "off"
    #: That compute, for each member at most 256; 0 takes the physical cores, at most 4.
    threads: int = 0
    #: Bytes that all models together may take; None sets no bound.
    max_memory: int | None = None
    #: Public key (PEM) by which manifests must be signed; None takes those that a cascade's file
    #: names, or asks for no signature.
    trusted_key: Path | None = None
    #: See `OnOutage`; None takes what a cascade's file says, and "degrade" of an artifact.
    on_outage: OnOutage | None = None
    #: File of the queries that are kept; None takes what a cascade's file says, or the user's own.
    outbox: Path | None = None
    #: Who says how things stand, and who is asked, where a cascade's file has a policy.
    policy: Providers = SYSTEM_PROVIDERS
    #: Given the address of a tier elsewhere and each gRPC channel to it, gives the channel that is
    #: asked: a network that is simulated, a count of calls. None is the channel itself.
    through: Through | None = None


_OF_ARTIFACTS = (
    *("threshold", "prompt_form", "deadline_s", "ca_cert"),
    *("token_file", "client_cert", "client_key", "tls", "plaintext"),
)


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
    given = [
        field.name
        for field in fields(options)
        if field.name in _OF_ARTIFACTS and getattr(options, field.name) != field.default
    ]
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
                else _gate(path, name, table, tiers[-1].opened, options, members.encoder(table))
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
    gate = _gate(folder, None, table, [member], options)
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
        return _remote_tier(path, name, table, table.address, table, prices, readers, ways)
    if addressed := addressed_members(table):
        return _remote_ensemble(path, name, table, addressed, readers, ways)
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


def _remote_ensemble(
    path: Path,
    name: str,
    table: TierTable,
    entries: Sequence[MemberTable],
    below: Sequence[Member],
    ways: Ways,
) -> Tier:
    with ExitStack() as undo:
        opened: list[RemoteMember] = []
        for entry in entries:
            prices = (entry.prompt_price, entry.generated_price)
            tier = _remote_tier(path, name, table, entry.address, entry, prices, below, ways)
            undo.callback(tier.close)
            opened.append(RemoteMember(tier, entry.weight))
        undo.pop_all()
    return RemoteEnsembleTier(opened, name=name, place=place_of(table))


def _remote_tier(
    path: Path,
    name: str,
    table: TierTable,
    address: str,
    spoken: Spoken,
    prices: tuple[float, float],
    below: Sequence[Member],
    ways: Ways,
) -> RemoteTier:
    """A tier elsewhere; it is sent the ids of the tokenizer that all tiers below it share."""
    if table.send == "tokens":
        for member in below[1:]:
            if member.fingerprint != below[0].fingerprint:
                raise CascadeError(
                    f"{path}: tier {name!r} is to be sent token ids, but {below[0].info.name} and"
                    f" {member.info.name} below it have different tokenizers"
                    f" ({below[0].fingerprint[:12]} and {member.fingerprint[:12]}); set send ="
                    ' "text"'
                )
    # gRPC is opened only for a tier elsewhere.
    from escalade.edge.wire import FAILURES_BEFORE_OPEN, ClientFiles, CloudClient, Hedge

    shown = (spoken.token_file, spoken.client_cert, spoken.client_key)
    after = table.breaker_after
    hedge = None
    if table.hedge_after_s is not None:
        hedge = Hedge(table.hedge_after_s, table.hedge_address)
    elif table.hedge_after is not None:
        percent = int(table.hedge_after.removeprefix("p"))
        hedge = Hedge(address=table.hedge_address, percent=percent)
    client = CloudClient(
        address,
        deadline_s=table.deadline_s,
        breaker_after=FAILURES_BEFORE_OPEN if after is None else after,
        hedge=hedge,
        ca_cert=None if spoken.ca_cert is None else path.parent / spoken.ca_cert,
        plaintext=plaintext_of(tls=spoken.tls, plaintext=spoken.plaintext),
        files=ClientFiles(*(None if one is None else path.parent / one for one in shown)),
        through=ways.through,
        guard=ways.guard,
    )
    asked = table.draft_acceptance
    acceptance = None if asked is None else Acceptance(asked.rule, asked.alpha)
    return RemoteTier(
        client,
        name=name,
        drafts=Drafts(table.draft_as_text, acceptance),
        place=place_of(table),
        reader=below[0] if below else None,
        prompt_form=table.send,
        prompt_price=prices[0],
        generated_price=prices[1],
    )


def _gate(
    where: Path,
    name: str | None,
    tier: TierTable,
    members: Sequence[Member],
    options: OpenOptions,
    encoder: SentenceEncoder | None = None,
) -> Gate:
    """The gate after a tier, with what the artifact says where the file says nothing."""
    table = tier.gate or GateTable()
    shown = str(where) if name is None else f"{where}: the gate of tier {name!r}"
    early = options.early if options.early != "off" else table.early
    if table.threshold is not None and not math.isfinite(table.threshold):
        raise CalibrationError(f"{shown}: threshold must be a finite number, got {table.threshold}")
    if encoder is not None:
        return Gate(rule=Medoid(EMBEDDING, encoder.similarity), threshold=table.threshold)
    if voices_in(tier) > 1:
        return Gate(rule=agreement_named(table.rule or VOTE), threshold=table.threshold)
    if not members:
        return Gate(rule=rule_named(table.rule or "mean"), threshold=table.threshold)
    artifact = members[0].artifact
    deferral = artifact.manifest.deferral
    # Another rule than the artifact's has no threshold but the file's.
    own = table.rule in {None, deferral.rule}
    if table.rule == ROUTER and not own:
        raise CascadeError(f"{shown}: rule {ROUTER!r}: {artifact.folder} has no router")
    tau = deferral.threshold if table.threshold is None and own else table.threshold
    if early == "likely" and (not own or deferral.early is None or tau != deferral.threshold):
        why = (
            "was not calibrated to stop early"
            if deferral.early is None or not own
            else f"was calibrated to stop early under threshold {deferral.threshold}, not {tau}"
        )
        raise CalibrationError(f"{artifact.folder}: {why}; 'certain' needs no calibration")
    rule = artifact.rule if own or table.rule is None else rule_named(table.rule)
    return Gate(rule=rule, threshold=tau, early=early, likely=deferral.early)
