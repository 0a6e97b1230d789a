"""The tables of a `cascade.toml`, and what is named or counted of them; checks none.

Paths are relative to the file. A tier of one artifact without a gate takes the artifact's own.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from escalade.edge.base import Finite, Seed
from escalade.edge.deferral import CascadeCalibration, Early, SamplesEntry
from escalade.edge.outbox import MAX_AGE_S, MAX_QUERIES
from escalade.edge.policy import PolicyTable
from escalade.edge.tiers import AcceptanceRule, PromptForm
from escalade.edge.trace import Place, Weight

#: The best answer so far is given and that is all, or the query is kept for later as well.
OnOutage = Literal["degrade", "queue"]
Price = Annotated[float, msgspec.Meta(ge=0.0, le=sys.float_info.max)]
Percentile = Literal["p50", "p90", "p95", "p99"]
Seconds = Annotated[float, msgspec.Meta(gt=0.0, le=sys.float_info.max)]
Temperature = Annotated[float, msgspec.Meta(gt=0.0, le=sys.float_info.max)]
Text = Annotated[str, msgspec.Meta(min_length=1)]
# Far more than anybody waits for.
Failures = Annotated[int, msgspec.Meta(ge=0, le=1000)]

#: Of self-consistency's samples (Wang et al. 2022, arXiv 2203.11171, for its largest models).
TEMPERATURE = 0.7


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table whose keys are all known."""


class Spoken(_Table, frozen=True, kw_only=True):
    """How an address is spoken to."""

    ca_cert: Text | None = None
    #: Holds the token that is sent there.
    token_file: Text | None = None
    #: The certificate that is shown there, and its key.
    client_cert: Text | None = None
    client_key: Text | None = None
    tls: bool | None = None
    plaintext: bool | None = None


class MemberTable(Spoken, frozen=True, kw_only=True):
    """A model of a tier: an artifact, or an address; prices are money for a million tokens."""

    #: Empty of one elsewhere.
    artifact: Text = ""
    #: `HOST:PORT`; empty of one on this device.
    address: Text = ""
    #: Another manifest is another member; None takes whatever lies there.
    manifest_sha256: str | None = None
    #: Public key (PEM) that must have signed it; None takes the file's.
    trusted_key: Text | None = None
    prompt_price: Price = 0.0
    generated_price: Price = 0.0
    #: Of its voice among those of its tier, e.g. its validated accuracy.
    weight: Weight = 1.0


class GateTable(_Table, frozen=True, kw_only=True):
    """The gate after a tier. What is left out comes from the artifact, where the tier is one."""

    rule: str | None = None
    threshold: Finite | None = None
    early: Early = "off"
    #: Of the rule by an embedding: the sentence encoder, a folder or a table as a member's.
    encoder: Text | MemberTable | None = None


class AcceptanceTable(_Table, frozen=True, kw_only=True):
    """When a draft's token stands that is not the large model's own choice."""

    rule: AcceptanceRule
    alpha: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class TierTable(Spoken, frozen=True, kw_only=True):
    """A tier: members on this device or elsewhere, or an address."""

    name: Text | None = None
    members: list[Text | MemberTable] = []
    side_by_side: bool = False
    #: How often one artifact answers, drawn anew each time (the paper draws at most 40); None:
    #: once, with the likeliest tokens.
    samples: Annotated[int, msgspec.Meta(ge=2, le=40)] | None = None
    #: Of these; None takes `TEMPERATURE`.
    temperature: Temperature | None = None
    seed: Seed = 0
    #: Seconds after which a member of several has failed; None sets no bound.
    member_deadline_s: Seconds | None = None
    address: str | None = None
    place: Place | None = None
    send: PromptForm = "tokens"
    deadline_s: Seconds = 10.0
    #: Failures in a row after which it is not asked for a while; 0 asks it always, None takes the
    #: channel's own.
    breaker_after: Failures | None = None
    #: Seconds after which a query that is not answered is asked a second time; None never.
    hedge_after_s: Seconds | None = None
    #: The same by how long the last answers took; None goes by the seconds.
    hedge_after: Percentile | None = None
    #: `HOST:PORT` of a replica that is asked then; None asks the same over another connection.
    hedge_address: str | None = None
    prompt_price: Price = 0.0
    generated_price: Price = 0.0
    #: Send what the tier below said as text, which the server tokenizes; where `send` is text.
    draft_as_text: bool = False
    draft_acceptance: AcceptanceTable | None = None
    gate: GateTable | None = None


class OutboxTable(_Table, frozen=True, kw_only=True):
    """Where queries wait for a tier that is out of reach."""

    #: None takes the user's own.
    path: Text | None = None
    max_queries: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] = MAX_QUERIES
    max_age_s: Seconds = MAX_AGE_S


class CascadeFile(_Table, frozen=True, kw_only=True):
    """A whole file."""

    currency: str = "USD"
    #: Public key (PEM) that must have signed every member; None asks for no signature.
    trusted_key: Text | None = None
    tiers: list[TierTable]
    #: What becomes of a query whose tier is out of reach, beside the best answer so far.
    on_outage: OnOutage = "degrade"
    outbox: OutboxTable = OutboxTable()
    #: What may leave this device; None: every query that is due.
    policy: PolicyTable | None = None
    #: How `escalade calibrate` found the thresholds; None where somebody set them.
    calibration: CascadeCalibration | None = None


def tier_name(table: TierTable, index: int) -> str:
    """What a tier is called where the file does not say."""
    if table.name is not None:
        return table.name
    if table.address is not None:
        return table.place or "cloud"
    if len(table.members) > 1:
        return f"ensemble-{index + 1}"
    return Path(all_members(table)[0].artifact).name or f"tier-{index + 1}"


def voices_in(table: TierTable) -> int:
    """How many answers a tier has to choose from; 0 of a tier of one address."""
    return table.samples or len(table.members)


def place_of(table: TierTable) -> Place:
    """Where a tier runs."""
    elsewhere = table.address is not None or bool(addressed_members(table))
    return table.place or ("cloud" if elsewhere else "device")


def samples_in(tiers: Sequence[TierTable]) -> list[SamplesEntry]:
    """Which tiers draw how."""
    return [
        SamplesEntry(
            tier=index,
            samples=table.samples,
            temperature=table.temperature or TEMPERATURE,
            seed=table.seed,
        )
        for index, table in enumerate(tiers)
        if table.samples is not None
    ]


def all_members(table: TierTable) -> list[MemberTable]:
    """Its members, each as a table: a folder alone is one of nothing else."""
    return [MemberTable(artifact=one) if isinstance(one, str) else one for one in table.members]


def member_tables(table: TierTable) -> list[MemberTable]:
    """Those of them that are artifacts on this device."""
    return [one for one in all_members(table) if one.artifact]


def addressed_members(table: TierTable) -> list[MemberTable]:
    """Those of them that are elsewhere."""
    return [one for one in all_members(table) if one.address]


def encoder_of(table: TierTable) -> MemberTable | None:
    """The sentence encoder of its gate, as a table too."""
    named = None if table.gate is None else table.gate.encoder
    return MemberTable(artifact=named) if isinstance(named, str) else named


def artifacts_of(table: TierTable) -> list[MemberTable]:
    """All that it opens on this device: members, then its gate's encoder."""
    encoder = encoder_of(table)
    return member_tables(table) + ([] if encoder is None else [encoder])


def key_of(path: Path, content: CascadeFile, entry: MemberTable, given: Path | None) -> Path | None:
    """The public key that must have signed a member.

    It is the caller's, where there is one: a file does not say whom its reader trusts.
    """
    named = entry.trusted_key or content.trusted_key
    return given if given is not None or named is None else path.parent / named
