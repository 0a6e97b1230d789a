"""What must hold between the tables of a cascade; reads no file, opens nothing."""

from __future__ import annotations

from pathlib import Path

import msgspec

from escalade.edge.cascade_file.tables import (
    CascadeFile,
    TierTable,
    member_tables,
    tier_name,
    voices_in,
)
from escalade.edge.deferral import ROUTER, agreement_named, is_agreement, rule_named
from escalade.edge.errors import CascadeError
from escalade.v1.address import parse_address
from escalade.v1.channel import plaintext_of, speaks_tls


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
                f"{path}: tiers[{index}]: give members (artifacts on this device) or an address,"
                " one of them"
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
    weights = [one.weight for one in member_tables(table)]
    if len(weights) == 1 and weights != [1.0]:
        raise CascadeError(
            f"{where}.members[0].weight: of a tier of several artifacts, got {weights[0]} of one"
        )


def _check_place(path: Path, index: int, table: TierTable) -> None:
    where = f"{path}: tiers[{index}]"
    if table.address is None:
        given = [name for name in _ELSEWHERE if getattr(table, name) != _DEFAULTS[name]]
        if given and (given, table.place) != (["place"], "device"):
            raise CascadeError(
                f"{where}.{given[0]}: of a tier elsewhere, with an address; this one has members"
            )
        return
    if table.place == "device":
        raise CascadeError(f"{where}.place: an address is a gateway's or a cloud's, got 'device'")
    if table.side_by_side:
        raise CascadeError(f"{where}.side_by_side: of members on this device, not of an address")
    hedges = [one for one in (table.hedge_after_s, table.hedge_after) if one is not None]
    if len(hedges) > 1:
        raise CascadeError(
            f"{where}.hedge_after: excludes hedge_after_s, got {hedges[1]!r} and {hedges[0]!r}"
        )
    if table.hedge_address is not None and not hedges:
        raise CascadeError(
            f"{where}.hedge_address: goes with hedge_after_s or hedge_after; neither is given"
        )
    _check_drafts(where, table)
    _check_address(where, "address", table.address, table)
    if table.hedge_address is not None:
        _check_address(where, "hedge_address", table.hedge_address, table)


def _check_drafts(where: str, table: TierTable) -> None:
    if table.draft_as_text and table.send != "text":
        raise CascadeError(f'{where}.draft_as_text: where send = "text", got send = {table.send!r}')
    if table.draft_as_text and table.draft_acceptance is not None:
        rule = table.draft_acceptance.rule
        if rule in _RULES_OF_THE_DRAFT:
            raise CascadeError(
                f"{where}.draft_acceptance.rule: {rule!r} asks for the draft's log-probabilities,"
                " which are of no text; take 'token_v2' or 'token_v3'"
            )


def _check_address(where: str, key: str, address: str, table: TierTable) -> None:
    try:
        host = parse_address(address).host
    except ValueError as error:
        raise CascadeError(f"{where}.{key} {error}") from error
    try:
        plaintext = plaintext_of(tls=table.tls, plaintext=table.plaintext)
        speaks_tls(host, plaintext=plaintext, ca_cert=table.ca_cert or table.client_cert)
    except ValueError as error:
        raise CascadeError(f"{where}: {error}") from error
    if (table.client_cert is None) != (table.client_key is None):
        missing = "client_cert" if table.client_cert is None else "client_key"
        raise CascadeError(f"{where}.{missing}: missing; a certificate is shown with its key")


def _check_rule(path: Path, name: str, table: TierTable) -> None:
    rule = None if table.gate is None else table.gate.rule
    several = voices_in(table) > 1
    if table.gate is not None and table.gate.early != "off" and voices_in(table) != 1:
        raise CascadeError(
            f"{path}: tier {name!r}: gate.early: of a tier of one artifact that answers once, got"
            f" {table.gate.early!r} with {voices_in(table)} members"
        )
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
    if rule == ROUTER and table.members:
        return
    try:
        if several:
            agreement_named(rule)
        else:
            rule_named(rule)
    except ValueError as error:
        raise CascadeError(f"{path}: tier {name!r}: gate.{error}") from error


# See `escalade.v1.AcceptanceRule`: q stands in them.
_RULES_OF_THE_DRAFT = ("chow", "diff")
# Keys that say how an address is spoken to.
_ELSEWHERE = (
    *("place", "send", "deadline_s", "ca_cert", "tls", "plaintext"),
    *("token_file", "client_cert", "client_key"),
    *("breaker_after", "hedge_after_s", "hedge_after", "hedge_address"),
    *("prompt_price", "generated_price", "draft_as_text", "draft_acceptance"),
)
_DEFAULTS = msgspec.structs.asdict(TierTable())
