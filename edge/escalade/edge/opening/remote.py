"""Opens the tiers of a cascade's file that answer elsewhere; calls nobody, and opens no model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from escalade.edge.cascade_file import MemberTable, Spoken, TierTable, place_of
from escalade.edge.errors import CascadeError
from escalade.edge.opening.guarding import Ways
from escalade.edge.tiers import (
    Acceptance,
    Drafts,
    Member,
    RemoteEnsembleTier,
    RemoteMember,
    RemoteTier,
    Tier,
)
from escalade.v1.channel import plaintext_of


def open_remote_ensemble(
    path: Path,
    name: str,
    table: TierTable,
    entries: Sequence[MemberTable],
    below: Sequence[Member],
    ways: Ways,
) -> Tier:
    """A tier of several members elsewhere; what was opened is closed where one does not open.

    Raises:
        CascadeError: see `open_remote_tier`.
        CloudError: an address is malformed.
    """
    with ExitStack() as undo:
        opened: list[RemoteMember] = []
        for entry in entries:
            prices = (entry.prompt_price, entry.generated_price)
            tier = open_remote_tier(path, name, table, entry.address, entry, prices, below, ways)
            undo.callback(tier.close)
            opened.append(RemoteMember(tier, entry.weight))
        undo.pop_all()
    return RemoteEnsembleTier(opened, name=name, place=place_of(table))


def open_remote_tier(
    path: Path,
    name: str,
    table: TierTable,
    address: str,
    spoken: Spoken,
    prices: tuple[float, float],
    below: Sequence[Member],
    ways: Ways,
) -> RemoteTier:
    """A tier elsewhere; it is sent the ids of the tokenizer that all tiers below it share.

    Args:
        path: the cascade's file; the names of files in it are beside it.
        name: the tier's.
        table: what the file says of the tier.
        address: `HOST:PORT` of who answers, the tier itself or a member of it.
        spoken: what the file says of the way there.
        prices: money for a million tokens (read, written), in the file's currency.
        below: members on this device whose ids may be sent.
        ways: see `Ways`.

    Raises:
        CascadeError: ids are to be sent, and those below have different tokenizers.
        CloudError: the address is malformed.
    """
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
