"""Opens what a gateway serves, and says whether it may take another's place; asks no query."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from escalade.cli.serving.reports import describe
from escalade.cli.serving.shared import client_turns
from escalade.cloud.backends import BackendInfo
from escalade.cloud.errors import StartError
from escalade.edge import OpenOptions
from escalade.edge.artifact import memory_of, memory_of_all
from escalade.edge.cascade import Cascade
from escalade.edge.opening import open_cascade
from escalade.edge.tiers import Member, SharedTier
from escalade.v1 import cascade_pb2 as pb


@dataclass(frozen=True, kw_only=True)
class GatewayCascade:
    """A cascade that can be served."""

    cascade: Cascade
    info: BackendInfo
    #: Of each tier its name, and the labels of each classifier in it.
    tiers: Sequence[tuple[str, Sequence[frozenset[str]]]]
    #: Bytes that its models take beside others; 0 where no bound was set.
    memory: int


def open_gateway_cascade(
    path: Path, options: OpenOptions, *, queue_capacity: int
) -> GatewayCascade:
    """Open a cascade's file, and check that it can be served.

    Args:
        path: the `cascade.toml`.
        options: how it is opened.
        queue_capacity: see `GatewayBackend`.

    Raises:
        EdgeError: see `open_cascade`.
        StartError: it cannot be served.
    """
    opened = open_cascade(path, options)
    try:
        _check(path, opened)
    except StartError:
        opened.close()
        raise
    members = _members(opened)
    return GatewayCascade(
        cascade=replace(opened, tiers=[SharedTier(tier, client_turns) for tier in opened.tiers]),
        info=_info(path, opened, members, queue_capacity),
        tiers=[
            (tier.name, [labels for one in tier.opened if (labels := _labels_of(one))])
            for tier in opened.tiers
        ],
        memory=0 if options.max_memory is None else _memory(members, options.max_memory),
    )


def open_beside(old: GatewayCascade, path: Path, options: OpenOptions) -> GatewayCascade:
    """Open what is to take over from `old`, while that one answers.

    Args:
        old: what is served.
        path: the `cascade.toml`.
        options: as `old` was opened with; its models' memory counts beside the new ones'.

    Raises:
        EdgeError: see `open_cascade`.
        StartError: it cannot be served, or clients of the old could not go on with it.
    """
    if options.max_memory is not None:
        options = replace(options, max_memory=max(options.max_memory - old.memory, 1))
    new = open_gateway_cascade(path, options, queue_capacity=old.info.queue_capacity)
    try:
        _check_takes_over(path, old, new)
    except StartError:
        new.cascade.close()
        raise
    return new


def deferring(cascade: Cascade) -> Cascade:
    """The same, but that every gate sends every query on."""
    gates = [
        None if gate is None else replace(gate, threshold=gate.rule.lowest)
        for gate in cascade.gates
    ]
    return replace(cascade, gates=gates)


def _check_takes_over(path: Path, old: GatewayCascade, new: GatewayCascade) -> None:
    names, wanted = [name for name, _ in new.tiers], [name for name, _ in old.tiers]
    if names != wanted:
        raise StartError(
            f"{path}: tiers must be {', '.join(wanted)} while it is served, got {', '.join(names)}"
        )
    fingerprint, served = (one.info.model.tokenizer_fingerprint for one in (new, old))
    if fingerprint != served:
        raise StartError(
            f"{path}: the tokenizer must be {served[:12] or 'none'} while it is served, got"
            f" {fingerprint[:12] or 'none'}"
        )
    for (name, now), (_, before) in zip(new.tiers, old.tiers, strict=True):
        if now != before:
            raise StartError(
                f"{path}: tier {name!r}: labels must be {_shown(before)} while it is served, got"
                f" {_shown(now)}"
            )


def _check(path: Path, opened: Cascade) -> None:
    if not opened.tiers[0].opened:
        raise StartError(f"{path}: the first tier of a gateway must be on this machine")
    for gate in opened.gates:
        if gate is not None and gate.early != "off":
            raise StartError(
                f"{path}: early must be 'off' behind a gateway, whose models take other"
                f" queries meanwhile; got {gate.early!r}"
            )
    if opened.outbox is not None:
        raise StartError(
            f"{path}: on_outage must be 'degrade' behind a gateway: who asked it is the"
            " one to wait; got 'queue'"
        )
    members = _members(opened)
    first = members[0]
    for member in members:
        if member.fingerprint != first.fingerprint and not _in_text(members):
            raise StartError(
                f"{path}: {first.info.name} and {member.info.name} have different"
                " tokenizers; a gateway is sent the ids of one"
            )


def _info(
    path: Path, opened: Cascade, members: Sequence[Member], queue_capacity: int
) -> BackendInfo:
    in_text, first = _in_text(members), members[0]
    models = [member.artifact.manifest.model for member in members]
    window = min(model.window for model in models)
    digests = "".join(str(member.info.program_sha256) for member in members)
    return BackendInfo(
        model=pb.ModelIdentity(
            name=path.stem,
            revision=hashlib.sha256(digests.encode()).hexdigest(),
            tokenizer_fingerprint="" if in_text else first.fingerprint,
        ),
        engine="escalade gateway",
        parameter_count=sum(model.parameters for model in models),
        vocabulary_size=0 if in_text else min(model.vocabulary_size for model in models),
        context_length=window,
        end_of_sequence_ids=() if in_text else tuple(models[0].end_of_sequence_ids),
        # A label is one; tiers elsewhere may say more.
        max_new_tokens=(window - 1 if in_text else max(model.max_new_tokens for model in models)),
        # They share a tokenizer.
        longest_token_bytes=0 if in_text else first.artifact.longest_token_bytes,
        queue_capacity=queue_capacity,
        capabilities=(
            pb.CAPABILITY_GENERATE,
            pb.CAPABILITY_GENERATE_STREAM,
            pb.CAPABILITY_SAMPLING,
        ),
        tiers=describe(opened),
    )


def _members(opened: Cascade) -> list[Member]:
    return [one for tier in opened.tiers for one in tier.opened]


def _in_text(members: Sequence[Member]) -> bool:
    """Whether one classifies: queries then come as text alone, which each tier reads for itself."""
    return any(member.artifact.classifies for member in members)


def _labels_of(member: Member) -> frozenset[str]:
    entry = member.artifact.manifest.classifier
    return frozenset(() if entry is None else entry.labels)


def _memory(members: Sequence[Member], most: int) -> int:
    """What the same models would take once more."""
    totals = [
        memory_of(one.artifact.folder, max_memory=most, trusted_key=None).total for one in members
    ]
    return memory_of_all([*totals, *totals]) - memory_of_all(totals)


def _shown(labels: Sequence[frozenset[str]]) -> str:
    return "; ".join(", ".join(sorted(one)) for one in labels) or "none"
