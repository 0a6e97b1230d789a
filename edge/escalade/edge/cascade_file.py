"""What a `cascade.toml` says: tiers, members, gates, addresses, prices; opens nothing.

    currency = "USD"

    [[tiers]]
    name = "small"
    members = ["artifacts/small"]            # one artifact, or several that vote
    gate = { rule = "mean", threshold = 0.07 }

    [[tiers]]
    name = "large"
    address = "127.0.0.1:50051"

Paths are relative to the file. A tier of one artifact without a gate takes the artifact's own.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Annotated

import msgspec

from escalade.edge.base import nearest
from escalade.edge.deferral import ROUTER, VOTE, Early, rule_named
from escalade.edge.errors import CascadeError
from escalade.edge.tiers import PromptForm
from escalade.edge.trace import Place

Price = Annotated[float, msgspec.Meta(ge=0.0)]
Seconds = Annotated[float, msgspec.Meta(gt=0.0)]


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table whose keys are all known."""


class MemberTable(_Table, frozen=True, kw_only=True):
    """A model of a tier; prices are money for a million tokens."""

    artifact: str
    #: Another manifest is another member; None takes whatever lies there.
    manifest_sha256: str | None = None
    prompt_price: Price = 0.0
    generated_price: Price = 0.0


class GateTable(_Table, frozen=True, kw_only=True):
    """The gate after a tier. What is left out comes from the artifact, where the tier is one."""

    rule: str | None = None
    threshold: float | None = None
    early: Early = "off"


class TierTable(_Table, frozen=True, kw_only=True):
    """A tier: members on this device, or an address elsewhere."""

    name: str | None = None
    members: list[str | MemberTable] = []
    side_by_side: bool = False
    address: str | None = None
    place: Place | None = None
    send: PromptForm = "tokens"
    deadline_s: Seconds = 10.0
    ca_cert: str | None = None
    plaintext: bool | None = None
    prompt_price: Price = 0.0
    generated_price: Price = 0.0
    gate: GateTable | None = None


class CascadeFile(_Table, frozen=True, kw_only=True):
    """A whole file."""

    currency: str = "USD"
    tiers: list[TierTable]


def read_cascade_file(path: Path) -> CascadeFile:
    """Read a file and check all that can be said without opening a tier.

    Raises:
        CascadeError: it cannot be read, a key is unknown (the nearest is named), a value is out of
            range, or tiers and gates do not fit together.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CascadeError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CascadeError(f"{path}: not valid TOML: {error}") from error
    try:
        content = msgspec.convert(raw, CascadeFile)
    except msgspec.ValidationError as error:
        raise CascadeError(f"{path}: {_said(error, raw)}") from error
    _check(path, content)
    return content


def tier_name(table: TierTable, index: int) -> str:
    """What a tier is called where the file does not say."""
    if table.name is not None:
        return table.name
    if table.address is not None:
        return table.place or "cloud"
    first = table.members[0]
    artifact = first if isinstance(first, str) else first.artifact
    return Path(artifact).name if len(table.members) == 1 else f"ensemble-{index + 1}"


def _check(path: Path, content: CascadeFile) -> None:
    if not content.tiers:
        raise CascadeError(f"{path}: tiers: a cascade needs at least 1 tier, got 0")
    names: list[str] = []
    for index, table in enumerate(content.tiers):
        if bool(table.members) == (table.address is not None):
            raise CascadeError(
                f"{path}: tiers[{index}]: give members (artifacts on this device) or an address,"
                " one of them"
            )
        if table.address is not None and table.place == "device":
            raise CascadeError(
                f"{path}: tiers[{index}].place: an address is a gateway's or a cloud's, got"
                " 'device'"
            )
        name = tier_name(table, index)
        if name in names:
            raise CascadeError(f"{path}: tiers[{index}].name: {name!r} is another tier's already")
        names.append(name)
    *lower, last = zip(content.tiers, names, strict=True)
    if last[0].gate is not None:
        raise CascadeError(
            f"{path}: tier {last[1]!r} is the last and has a gate; there is no tier to defer to"
        )
    for table, name in lower:
        if table.gate is None and len(table.members) != 1:
            raise CascadeError(
                f"{path}: two last tiers: {name!r} and {last[1]!r} have no gate after them; every"
                " tier but the last needs one"
            )
        _check_rule(path, name, table)


def _check_rule(path: Path, name: str, table: TierTable) -> None:
    rule = None if table.gate is None else table.gate.rule
    several = len(table.members) > 1
    if rule is None:
        if not table.members:
            raise CascadeError(
                f"{path}: tier {name!r}: gate.rule: a tier elsewhere needs one, e.g. 'mean'"
            )
        return
    if rule == VOTE or several:
        if rule != VOTE or not several:
            raise CascadeError(
                f"{path}: tier {name!r}: gate.rule: {VOTE!r} is the rule of a tier of several"
                f" members, and of no other; got {rule!r} with {len(table.members)}"
            )
        return
    if rule == ROUTER and table.members:
        return
    try:
        rule_named(rule)
    except ValueError as error:
        raise CascadeError(f"{path}: tier {name!r}: gate.{error}") from error


def _said(error: msgspec.ValidationError, raw: object) -> str:
    """A message with the place, the range and the value."""
    message = str(error)
    expected, _, place = message.partition(" - at `")
    place = place.removesuffix("`").removeprefix("$").removeprefix(".")
    if unknown := re.search(r"unknown field `(.+?)`", expected):
        known = {name for table in _TABLES for name in table.__struct_fields__}
        hint = nearest(unknown[1], sorted(known)) or f"; known keys: {', '.join(sorted(known))}"
        return f"{place or 'the file'}: unknown key {unknown[1]!r}{hint}"
    found = _at(raw, place)
    return f"{place or 'the file'}: {expected}" + ("" if found is None else f", got {found!r}")


def _at(raw: object, place: str) -> object:
    """The value at a path such as `tiers[0].gate.threshold`; None where it leads nowhere."""
    for key, index in re.findall(r"(\w+)|\[(\d+)\]", place):
        if isinstance(raw, dict) and key in raw:
            raw = raw[key]
        elif isinstance(raw, list) and index and int(index) < len(raw):
            raw = raw[int(index)]
        else:
            return None
    return raw if isinstance(raw, str | int | float | bool) else None


_TABLES = (CascadeFile, TierTable, MemberTable, GateTable)
