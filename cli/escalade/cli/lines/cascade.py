"""What a cascade's file says, for people and for machines; loads no program."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from escalade.edge.deferral import CascadeCalibration
from escalade.edge.policy import PolicyTable

if TYPE_CHECKING:
    from escalade.edge.artifact import Manifest
    from escalade.edge.cascade_file import CascadeFile, MemberTable, TierTable


class AddressSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A member of a tier elsewhere."""

    address: str
    prompt_price: float
    generated_price: float
    weight: float


class MemberSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A model of a tier on this device."""

    artifact: str
    name: str
    parameters: int
    scheme: str
    tokenizer_fingerprint: str
    #: Whether the file names the manifest that lies there; None where it names none.
    pinned: bool | None
    memory_bytes: int
    prompt_price: float
    generated_price: float
    weight: float


class TierSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A tier, and the gate after it."""

    name: str
    place: str
    address: str | None
    #: Of members that are elsewhere; they have one vote each.
    addresses: list[AddressSummary]
    side_by_side: bool
    members: list[MemberSummary]
    #: Of a tier whose one model answers several times.
    samples: int | None
    temperature: float | None
    #: None after the last tier.
    rule: str | None
    threshold: float | None
    #: By which the rule compares texts, where it does by their embeddings.
    encoder: MemberSummary | None


class CascadeSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A whole cascade."""

    currency: str
    tiers: list[TierSummary]
    #: Of all models on this device, when open.
    memory_bytes: int
    #: How the thresholds were found; None where somebody set them.
    calibration: CascadeCalibration | None
    #: What may leave the device, as the file says it; None where all that is due may.
    policy: PolicyTable | None


def summary_of(path: Path, trusted_key: Path | None = None) -> CascadeSummary:
    """Read a cascade's file and the manifests of its members; every file is held against its hash.

    Args:
        path: the file.
        trusted_key: must have signed every member; None takes the keys that the file names.

    Raises:
        CascadeError: the file is not right.
        ArtifactError: a member is not whole.
    """
    from escalade.edge.artifact import memory_of_all
    from escalade.edge.cascade_file import read_cascade_file

    content = read_cascade_file(path)
    tiers = [_tier(path, content, index, trusted_key) for index in range(len(content.tiers))]
    return CascadeSummary(
        currency=content.currency,
        tiers=tiers,
        memory_bytes=memory_of_all(
            one.memory_bytes
            for tier in tiers
            for one in (*tier.members, *([] if tier.encoder is None else [tier.encoder]))
        ),
        calibration=content.calibration,
        policy=content.policy,
    )


def rows_of(summary: CascadeSummary) -> list[tuple[str, list[str]]]:
    """A row for each tier, then what all of them take, and what may leave."""
    from escalade.cli.lines.policy import policy_lines

    rows = []
    for tier in summary.tiers:
        lines = [f"{tier.place}, {tier.address}" if tier.address else tier.place]
        if (several := len(tier.members) + len(tier.addresses)) > 1:
            how = "side by side" if tier.side_by_side else "one after the other"
            lines[0] += f", {several} members {how}"
        if tier.samples is not None:
            lines[0] += f", {tier.samples} samples at temperature {tier.temperature:g}"
        lines += [_member_line(member, summary.currency) for member in tier.members]
        lines += [f"{one.address}{_terms(one, summary.currency)}" for one in tier.addresses]
        if tier.rule is not None:
            threshold = "not calibrated" if tier.threshold is None else f"{tier.threshold:.4f}"
            last = tier is summary.tiers[-1] and len(summary.tiers) > 1
            lines.append(
                f"then rule {tier.rule}" + (f", threshold {threshold}" if not last else "")
            )
        if tier.encoder is not None:
            lines.append(f"by {_member_line(tier.encoder, summary.currency)}")
        rows.append((tier.name, lines))
    mib = summary.memory_bytes / (1 << 20)
    rows.append(("memory", [f"at most {mib:,.1f} MiB when open"]))
    if summary.policy is not None:
        rows.append(("policy", policy_lines(summary.policy, summary.currency)))
    return rows


def _tier(path: Path, content: CascadeFile, index: int, trusted_key: Path | None) -> TierSummary:
    from escalade.edge.artifact import check_signature, read_manifest
    from escalade.edge.cascade_file import (
        TEMPERATURE,
        addressed_members,
        artifacts_of,
        key_of,
        member_tables,
        place_of,
        tier_name,
    )

    table = content.tiers[index]
    entries = member_tables(table)
    manifests = []
    for entry in artifacts_of(table):
        if (key := key_of(path, content, entry, trusted_key)) is not None:
            check_signature(path.parent / entry.artifact, key)
        manifests.append(read_manifest(path.parent / entry.artifact))
    rule, threshold = None, None
    if index < len(content.tiers) - 1 or len(content.tiers) == 1 or table.gate is not None:
        rule, threshold = _gate(table, manifests)
    members = [
        _member(path.parent / entry.artifact, entry, manifest)
        for entry, manifest in zip(artifacts_of(table), manifests, strict=True)
    ]
    return TierSummary(
        name=tier_name(table, index),
        place=place_of(table),
        address=table.address,
        addresses=[
            AddressSummary(
                address=one.address,
                prompt_price=one.prompt_price,
                generated_price=one.generated_price,
                weight=one.weight,
            )
            for one in addressed_members(table)
        ],
        side_by_side=table.side_by_side or bool(addressed_members(table)),
        members=members[: len(entries)],
        samples=table.samples,
        temperature=table.temperature or (TEMPERATURE if table.samples else None),
        rule=rule,
        threshold=threshold,
        encoder=members[-1] if len(members) > len(entries) else None,
    )


def _gate(table: TierTable, manifests: list[Manifest]) -> tuple[str | None, float | None]:
    """Rule and threshold, the artifact's own where the file says nothing."""
    from escalade.edge.cascade_file import voices_in
    from escalade.edge.deferral import VOTE

    rule = None if table.gate is None else table.gate.rule
    threshold = None if table.gate is None else table.gate.threshold
    if manifests and voices_in(table) == 1:
        own = manifests[0].deferral
        if rule in {None, own.rule}:
            return own.rule, own.threshold if threshold is None else threshold
    return rule or (VOTE if table.members else None), threshold


def _member(folder: Path, entry: MemberTable, manifest: Manifest) -> MemberSummary:
    from escalade.edge.artifact import MANIFEST_NAME, memory_needed
    from escalade.edge.base import sha256_of

    pinned = None
    if entry.manifest_sha256 is not None:
        pinned = sha256_of(folder / MANIFEST_NAME) == entry.manifest_sha256
    return MemberSummary(
        artifact=str(folder),
        name=manifest.model.name,
        parameters=manifest.model.parameters,
        scheme=manifest.quantization.scheme,
        tokenizer_fingerprint=manifest.model.tokenizer_fingerprint,
        pinned=pinned,
        memory_bytes=memory_needed(folder, manifest).total,
        prompt_price=entry.prompt_price,
        generated_price=entry.generated_price,
        weight=entry.weight,
    )


def _member_line(member: MemberSummary, currency: str) -> str:
    line = f"{member.name}, {member.parameters:,} parameters, {member.scheme}: {member.artifact}"
    changed = {False: ", CHANGED since the file was calibrated", True: "", None: ""}
    return line + _terms(member, currency) + changed[member.pinned]


def _terms(member: MemberSummary | AddressSummary, currency: str) -> str:
    """What a member costs, and how much its voice weighs."""
    terms = ""
    if member.prompt_price or member.generated_price:
        terms = (
            f", {member.prompt_price:g} and {member.generated_price:g} {currency} for a million"
            " tokens read and written"
        )
    return terms if member.weight == 1.0 else f"{terms}, weight {member.weight:g}"
