"""What must hold of tiers and members elsewhere; reads no file, dials nobody."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.edge.cascade_file.tables import MemberTable, Spoken, TierTable
from escalade.edge.errors import CascadeError
from escalade.v1.address import parse_address
from escalade.v1.channel import plaintext_of, speaks_tls


def check_tier_elsewhere(where: str, table: TierTable, address: str) -> None:
    """Refuse keys of a tier of one address that do not fit together.

    Args:
        where: the file, and the tier's place in it.
        table: the tier.
        address: its.

    Raises:
        CascadeError: they do not.
    """
    _check_not_here(where, table)
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
    _check_address(f"{where}.address", where, address, table)
    if table.hedge_address is not None:
        _check_address(f"{where}.hedge_address", where, table.hedge_address, table)


def check_members_elsewhere(where: str, table: TierTable, members: Sequence[MemberTable]) -> None:
    """Refuse members at addresses that cannot vote, and what is for a tier of one address.

    Args:
        where: the file, and the tier's place in it.
        table: the tier.
        members: all of its members, at least one of them at an address.

    Raises:
        CascadeError: they cannot.
    """
    seen: dict[str, int] = {}
    for index, member in enumerate(members):
        name = f"{where}.members[{index}]"
        if not member.address:
            raise CascadeError(
                f"{name}: members are all artifacts on this device or all addresses, got"
                f" {member.artifact!r} beside {members[_first_addressed(members)].address!r}"
            )
        if given := [key for key in _OF_ARTIFACTS if getattr(member, key) is not None]:
            raise CascadeError(
                f"{name}.{given[0]}: of an artifact on this device, got it of {member.address!r}"
            )
        _check_address(f"{name}.address", name, member.address, member)
        if member.address in seen:
            raise CascadeError(
                f"{name}.address: {member.address!r} is members[{seen[member.address]}] already,"
                " which has one vote"
            )
        seen[member.address] = index
    if len(members) == 1:
        raise CascadeError(
            f"{where}.members[0].address: of several members that vote, got 1; a tier of one has"
            f" address = {members[0].address!r}"
        )
    _check_not_here(where, table)
    for key, instead in _NOT_OF_SEVERAL.items():
        if getattr(table, key) != _DEFAULTS[key]:
            given = msgspec.to_builtins(getattr(table, key))
            raise CascadeError(
                f"{where}.{key}: not of members at addresses, got {given!r}; {instead}"
            )
    _check_drafts(where, table)


def check_members_here(where: str, members: Sequence[MemberTable]) -> None:
    """Refuse keys of an address beside an artifact.

    Raises:
        CascadeError: there are some.
    """
    for index, member in enumerate(members):
        given = [key for key in SPOKEN if getattr(member, key) is not None]
        if given:
            raise CascadeError(
                f"{where}.members[{index}].{given[0]}: of a member elsewhere, with an address;"
                f" this one is {member.artifact!r}"
            )


def _first_addressed(members: Sequence[MemberTable]) -> int:
    return next(index for index, member in enumerate(members) if member.address)


def _check_not_here(where: str, table: TierTable) -> None:
    if table.place == "device":
        raise CascadeError(f"{where}.place: an address is a gateway's or a cloud's, got 'device'")


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


def _check_address(key: str, where: str, address: str, spoken: Spoken) -> None:
    try:
        host = parse_address(address).host
    except ValueError as error:
        raise CascadeError(f"{key} {error}") from error
    try:
        plaintext = plaintext_of(tls=spoken.tls, plaintext=spoken.plaintext)
        speaks_tls(host, plaintext=plaintext, ca_cert=spoken.ca_cert or spoken.client_cert)
    except ValueError as error:
        raise CascadeError(f"{where}: {error}") from error
    if (spoken.client_cert is None) != (spoken.client_key is None):
        missing = "client_cert" if spoken.client_cert is None else "client_key"
        raise CascadeError(f"{where}.{missing}: missing; a certificate is shown with its key")


#: Keys that say how an address is spoken to.
SPOKEN = tuple(field.name for field in msgspec.structs.fields(Spoken))
_OF_ARTIFACTS = ("manifest_sha256", "trusted_key")
_DEFAULTS = msgspec.structs.asdict(TierTable())
_EACH = "each member has its own"
# Keys of a tier that its several members at addresses do not take, and what does instead.
_NOT_OF_SEVERAL: dict[str, str] = {
    **dict.fromkeys((*SPOKEN, "prompt_price", "generated_price"), _EACH),
    "side_by_side": "they always are asked side by side",
    "member_deadline_s": "deadline_s is of each of them",
    **dict.fromkeys(
        ("hedge_after_s", "hedge_after", "hedge_address"),
        "the vote goes on without one that is late",
    ),
    "draft_acceptance": "members that lean on one draft agree because of it",
}
# See `escalade.v1.AcceptanceRule`: q stands in them.
_RULES_OF_THE_DRAFT = ("chow", "diff")
