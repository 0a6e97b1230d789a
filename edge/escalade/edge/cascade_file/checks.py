"""What must hold between the tables of a cascade; reads no file, opens nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec

from escalade.edge.base import counted
from escalade.edge.cascade_file.addresses import (
    SPOKEN,
    check_members_elsewhere,
    check_members_here,
    check_tier_elsewhere,
)
from escalade.edge.cascade_file.tables import (
    CascadeFile,
    MemberTable,
    TierTable,
    addressed_members,
    all_members,
    encoder_of,
    tier_name,
    voices_in,
)
from escalade.edge.deferral import EMBEDDING, ROUTER, agreement_named, is_agreement, rule_named
from escalade.edge.errors import CascadeError


def check_tiers(path: Path, content: CascadeFile) -> list[tuple[TierTable, str]]:
    """Refuse tiers that do not fit together; gives all but the last, with what each is called.

    Raises:
        CascadeError: they do not.
    """
    if not content.tiers:
        raise CascadeError(f"{path}: tiers: a cascade needs at least 1 tier, got 0")
    names: list[str] = []
    for index, table in enumerate(content.tiers):
        if bool(table.members) == (table.address is not None):
            raise CascadeError(
                f"{path}: tiers[{index}]: give members (artifacts on this device, or addresses that"
                " vote) or an address, one of them"
            )
        _check_place(path, index, table)
        _check_voices(path, index, table)
        name = tier_name(table, index)
        if not name.isprintable():
            raise CascadeError(f"{path}: tiers[{index}].name: must be printable, got {name[:80]!r}")
        if name in names:
            raise CascadeError(f"{path}: tiers[{index}].name: {name!r} is another tier's already")
        names.append(name)
    *lower, last = zip(content.tiers, names, strict=True)
    gate = last[0].gate
    if gate is not None and voices_in(last[0]) > 1 and gate.threshold is None:
        _check_rule(path, last[1], last[0])  # it says who wins, and nothing is deferred
    elif gate is not None:
        raise CascadeError(
            f"{path}: tier {last[1]!r} is the last and has a gate; there is no tier to defer to"
        )
    for table, name in lower:
        if table.gate is None and voices_in(table) != 1:
            raise CascadeError(
                f"{path}: two last tiers: {name!r} and {last[1]!r} have no gate after them; every"
                " tier but the last needs one"
            )
        _check_rule(path, name, table)
    return lower


def _check_voices(path: Path, index: int, table: TierTable) -> None:
    where, voices = f"{path}: tiers[{index}]", voices_in(table)
    if table.samples is not None and len(table.members) != 1:
        raise CascadeError(
            f"{where}.samples: of a tier of one artifact, got {len(table.members)} members"
        )
    if table.samples is not None and table.side_by_side:
        raise CascadeError(
            f"{where}.side_by_side: samples of one artifact are drawn one after the other"
        )
    if table.samples is None and (table.temperature is not None or table.seed):
        given = "seed" if table.temperature is None else "temperature"
        raise CascadeError(f"{where}.{given}: goes with samples, which are not given")
    if table.member_deadline_s is not None and voices < 2:  # noqa: PLR2004
        raise CascadeError(f"{where}.member_deadline_s: of a tier of several members, got {voices}")
    weights = [one.weight for one in all_members(table)]
    if len(weights) == 1 and weights != [1.0]:
        raise CascadeError(
            f"{where}.members[0].weight: of a tier of several artifacts, got {weights[0]} of one"
        )


def _check_place(path: Path, index: int, table: TierTable) -> None:
    where, members = f"{path}: tiers[{index}]", all_members(table)
    for place, member in enumerate(members):
        if bool(member.artifact) == bool(member.address):
            raise CascadeError(
                f"{where}.members[{place}]: give artifact (a folder on this device) or address, one"
                " of them"
            )
    if table.address is not None:
        check_tier_elsewhere(where, table, table.address)
    elif addressed_members(table):
        check_members_elsewhere(where, table, members)
    else:
        given = [name for name in _ELSEWHERE if getattr(table, name) != _DEFAULTS[name]]
        if given and (given, table.place) != (["place"], "device"):
            raise CascadeError(
                f"{where}.{given[0]}: of a tier elsewhere, with an address; this one has members"
            )
        check_members_here(where, members)


def _check_rule(path: Path, name: str, table: TierTable) -> None:
    rule = None if table.gate is None else table.gate.rule
    several = voices_in(table) > 1
    if table.gate is not None and table.gate.early != "off" and voices_in(table) != 1:
        raise CascadeError(
            f"{path}: tier {name!r}: gate.early: of a tier of one artifact that answers once, got"
            f" {table.gate.early!r} with {counted(voices_in(table), 'member')}"
        )
    _check_encoder(f"{path}: tier {name!r}: gate.encoder", rule, encoder_of(table))
    if rule is None:
        if not table.members:
            raise CascadeError(
                f"{path}: tier {name!r}: gate.rule: a tier elsewhere needs one, e.g. 'mean'"
            )
        return
    if is_agreement(rule) and not several:
        raise CascadeError(
            f"{path}: tier {name!r}: gate.rule: {rule!r} is the rule of a tier of several"
            f" members, and of no other; got it with {len(table.members)}"
        )
    if rule == ROUTER and table.members and not several:
        return
    if rule == EMBEDDING:
        return
    try:
        if several:
            agreement_named(rule)
        else:
            rule_named(rule)
    except ValueError as error:
        raise CascadeError(f"{path}: tier {name!r}: gate.{error}") from error


def _check_encoder(where: str, rule: str | None, encoder: MemberTable | None) -> None:
    if (rule == EMBEDDING) != (encoder is not None):
        got = "none" if encoder is None else f"{encoder.artifact!r} with rule {rule!r}"
        raise CascadeError(
            f"{where}: must be the folder of a sentence encoder where the rule is {EMBEDDING!r},"
            f" and nowhere else; got {got}"
        )
    if encoder is None:
        return
    plain = MemberTable(
        artifact=encoder.artifact,
        manifest_sha256=encoder.manifest_sha256,
        trusted_key=encoder.trusted_key,
    )
    if not encoder.artifact or encoder != plain:
        raise CascadeError(
            f"{where}: takes artifact, trusted_key and manifest_sha256, no other key"
        )


# Keys of a tier elsewhere.
_ELSEWHERE = (
    *("place", "send", "deadline_s", *SPOKEN),
    *("breaker_after", "hedge_after_s", "hedge_after", "hedge_address"),
    *("prompt_price", "generated_price", "draft_as_text", "draft_acceptance"),
)
_DEFAULTS = msgspec.structs.asdict(TierTable())
