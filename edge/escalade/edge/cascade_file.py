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
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from escalade.edge.base import Finite, Seed, explain, read_text
from escalade.edge.deferral import (
    ROUTER,
    CascadeCalibration,
    Early,
    SamplesEntry,
    agreement_named,
    is_agreement,
    rule_named,
)
from escalade.edge.errors import CascadeError, DataError
from escalade.edge.outbox import MAX_AGE_S, MAX_QUERIES
from escalade.edge.tiers import AcceptanceRule, PromptForm
from escalade.edge.trace import Place, Weight
from escalade.v1.address import parse_address
from escalade.v1.channel import plaintext_of, speaks_tls

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

#: A file of a thousand tiers is shorter.
MAX_CASCADE_BYTES = 1 << 20
# tomllib takes memory with the square of how deep a key nests (30 kB of `a.a.a` 900 MB); below this
# depth at most 500 bytes for one of the file, found with `[a.b.c.d.e.f.g.h]`.
_TOO_DEEP = re.compile(r"""(?<![\w-])(?:(?:[\w-]+|"[^"\n]*"|'[^'\n]*')[ \t]*\.[ \t]*){8}""")
_HELD_PER_BYTE = 512


class _Table(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table whose keys are all known."""


class MemberTable(_Table, frozen=True, kw_only=True):
    """A model of a tier; prices are money for a million tokens."""

    artifact: Text
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


class AcceptanceTable(_Table, frozen=True, kw_only=True):
    """When a draft's token stands that is not the large model's own choice."""

    rule: AcceptanceRule
    alpha: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class TierTable(_Table, frozen=True, kw_only=True):
    """A tier: members on this device, or an address elsewhere."""

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
    ca_cert: Text | None = None
    #: Holds the token that is sent there.
    token_file: Text | None = None
    #: The certificate that is shown there, and its key.
    client_cert: Text | None = None
    client_key: Text | None = None
    tls: bool | None = None
    plaintext: bool | None = None
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
    #: How `escalade calibrate` found the thresholds; None where somebody set them.
    calibration: CascadeCalibration | None = None


def read_cascade_file(
    path: Path, *, calibrated: bool = True, max_memory: int | None = None
) -> CascadeFile:
    """Read a file and check all that can be said without opening a tier.

    Args:
        path: the file.
        calibrated: whether what it says of its calibration must be of what it says otherwise; not
            where it is to be calibrated again.
        max_memory: bytes that reading it may take; None sets no bound.

    Raises:
        CascadeError: it cannot be read, a key is unknown (the nearest is named), a value is out of
            range, or tiers and gates do not fit together.
    """
    import tomllib  # an artifact alone needs none

    try:
        with path.open("rb") as stream:
            text = read_text(stream, path, MAX_CASCADE_BYTES)
        _check_bytes(path, text, max_memory)
        raw = tomllib.loads(text)
    except OSError as error:
        raise CascadeError(f"{path}: cannot be read: {error.strerror}") from error
    except DataError as error:
        raise CascadeError(str(error)) from error
    except (ValueError, RecursionError) as error:  # numbers of too many digits among them
        raise CascadeError(f"{path}: not valid TOML: {error}") from error
    try:
        content = msgspec.convert(raw, CascadeFile)
    except msgspec.ValidationError as error:
        raise CascadeError(f"{path}: {explain(error, raw, CascadeFile)}") from error
    _check(path, content, calibrated=calibrated)
    return content


def _check_bytes(path: Path, text: str, max_memory: int | None) -> None:
    """Refuse what would take much memory to read."""
    if _TOO_DEEP.search(text):
        raise CascadeError(f"{path}: a key nests deeper than 8; those of a cascade nest 3 deep")
    needed = _HELD_PER_BYTE * len(text)
    if max_memory is not None and needed > max_memory:
        raise CascadeError(
            f"{path}: needs {needed} bytes of memory to be read, may take at most {max_memory}"
        )


def tier_name(table: TierTable, index: int) -> str:
    """What a tier is called where the file does not say."""
    if table.name is not None:
        return table.name
    if table.address is not None:
        return table.place or "cloud"
    alone = Path(member_tables(table)[0].artifact).name or f"tier-{index + 1}"
    return alone if len(table.members) == 1 else f"ensemble-{index + 1}"


def voices_in(table: TierTable) -> int:
    """How many answers a tier on this device has to choose from."""
    return table.samples or len(table.members)


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


def member_tables(table: TierTable) -> list[MemberTable]:
    """Its members, each as a table: a folder alone is one of nothing else."""
    return [MemberTable(artifact=one) if isinstance(one, str) else one for one in table.members]


def key_of(path: Path, content: CascadeFile, entry: MemberTable, given: Path | None) -> Path | None:
    """The public key that must have signed a member.

    It is the caller's, where there is one: a file does not say whom its reader trusts.
    """
    named = entry.trusted_key or content.trusted_key
    return given if given is not None or named is None else path.parent / named


def _check(path: Path, content: CascadeFile, *, calibrated: bool) -> None:
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
    if calibrated and content.calibration is not None:
        _check_calibration(path, content.calibration, lower)
        _check_members(path, content.calibration, content.tiers)


def _check_calibration(
    path: Path, calibration: CascadeCalibration, lower: Sequence[tuple[TierTable, str]]
) -> None:
    """Hold what was found against what stands there now: it is said, or promised, of no other."""
    if len(calibration.thresholds) != len(lower):
        raise CascadeError(
            f"{path}: calibration.thresholds: must be {len(lower)}, one for each tier but the last,"
            f" got {len(calibration.thresholds)}"
        )
    for (table, name), rule, tau in zip(
        lower, calibration.rules, calibration.thresholds, strict=True
    ):
        gate = table.gate or GateTable()
        if gate.threshold != tau or gate.rule not in {None, rule}:
            raise CascadeError(
                f"{path}: tier {name!r}: gate: must have threshold {tau} under rule {rule!r}, which"
                f" calibration is of, got {gate.threshold} under {gate.rule or rule!r}; calibrate"
                " again, or take out [calibration]"
            )


def _check_members(path: Path, calibration: CascadeCalibration, tiers: Sequence[TierTable]) -> None:
    pins = [one.manifest_sha256 for table in tiers for one in member_tables(table)]
    if pins != calibration.members:
        raise CascadeError(
            f"{path}: tiers: members, or their manifest_sha256, are not those that calibration is"
            " of; calibrate again, or take out [calibration]"
        )
    weights = [one.weight for table in tiers for one in member_tables(table)]
    if weights != (calibration.weights or [1.0] * len(weights)):
        raise CascadeError(
            f"{path}: tiers: members' weights are {weights}, not those that calibration is of;"
            " calibrate again, or take out [calibration]"
        )
    if samples_in(tiers) != calibration.samples:
        raise CascadeError(
            f"{path}: tiers: samples, temperature or seed are not those that calibration is of;"
            " calibrate again, or take out [calibration]"
        )


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
