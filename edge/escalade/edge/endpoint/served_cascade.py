"""A cascade as an endpoint serves it: asked by several threads; knows no HTTP, no request."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from escalade.edge.cascade import Cascade
from escalade.edge.cascade_file import look
from escalade.edge.client import EdgeClient
from escalade.edge.deferral import Agreement, Gate
from escalade.edge.endpoint.answering import Readers
from escalade.edge.endpoint.openai import StreamMode
from escalade.edge.opening import OpenOptions, open_cascade
from escalade.edge.tiers import Member, SharedTier, in_order
from escalade.v1.watched_files import LOOK_EVERY_S

_LOG = logging.getLogger(__name__)
_FINGERPRINT = 12


@dataclass(frozen=True, kw_only=True)
class ServedCascade:
    """A cascade, open, under the name that requests give."""

    #: What requests name.
    name: str
    #: Ask by the gates as they are, and with early deferral where they have none.
    client: EdgeClient
    early: EdgeClient
    watch: Watch
    readers: Readers

    @property
    def cascade(self) -> Cascade:
        """Its tiers and gates."""
        return self.client.cascade

    @property
    def members(self) -> list[Member]:
        """Its models on this device."""
        return [one for tier in self.cascade.tiers for one in tier.opened]

    @property
    def fingerprint(self) -> str:
        """Another where any model on this device is."""
        digests = "".join(str(one.info.program_sha256) for one in self.members)
        return "fp_" + hashlib.sha256(digests.encode()).hexdigest()[:_FINGERPRINT]

    def asked(self, mode: StreamMode, *, stream: bool) -> EdgeClient:
        """Who asks, for a request."""
        return self.early if stream and mode == "early" else self.client

    def reader_of(self, fingerprint: str) -> Member | None:
        """A model here that has a tokenizer; None where none has it."""
        found = (one for one in self.members if fingerprint and one.fingerprint == fingerprint)
        return next(found, None)

    def __enter__(self) -> ServedCascade:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every tier, and the outboxes."""
        self.client.close()
        if self.early.outbox is not None:
            self.early.outbox.close()


class Watch:
    """Says once that other files lie where a cascade was opened; it is not followed."""

    def __init__(self, path: Path, now_s: Callable[[], float]) -> None:
        """Look, before the cascade is opened: what changes meanwhile is then a change.

        Args:
            path: see `open_served_cascade`.
            now_s: seconds, monotonic.
        """
        self._path, self._now_s = path, now_s
        self._seen, self._last_s = look(path), now_s()
        self._changed = False

    @property
    def changed(self) -> bool:
        """Whether another cascade lies there now; a look at most every second."""
        if not self._changed and self._now_s() - self._last_s >= LOOK_EVERY_S:
            self._last_s = self._now_s()
            self._changed = look(self._path) != self._seen
            if self._changed:
                _LOG.warning(
                    "%s: was changed; what was there at the start is served on: start anew to"
                    " follow",
                    self._path,
                )
        return self._changed


def open_served_cascade(
    path: Path,
    options: OpenOptions,
    *,
    cloud: str | None = None,
    trace: Path | None = None,
    name: str | None = None,
    now_s: Callable[[], float],
) -> ServedCascade:
    """Open a cascade for several threads.

    Args:
        path: an artifact's folder or a `cascade.toml`.
        options: how it is opened.
        cloud: see `open_cascade`.
        trace: every query that is answered adds its record to this file.
        name: what requests call it; None takes the file's name without its ending, or that of
            an artifact's model.
        now_s: seconds, monotonic.

    Raises:
        EdgeError: see `open_cascade` and `EdgeClient`.
    """
    watch = Watch(path, now_s)
    readers = Readers()
    if options.policy.consent is None:
        options = replace(options, policy=replace(options.policy, consent=readers.ask))
    with ExitStack() as undo:
        opened = open_cascade(path, options, cloud=cloud)
        undo.callback(opened.close)
        shared = replace(opened, tiers=[SharedTier(tier, in_order) for tier in opened.tiers])
        early = replace(shared, gates=[_early(gate) for gate in shared.gates])
        client = EdgeClient(shared, trace=trace)
        if client.outbox is not None:
            undo.callback(client.outbox.close)
        served = ServedCascade(
            name=name or _name(path, opened),
            client=client,
            early=EdgeClient(early, trace=trace),
            watch=watch,
            readers=readers,
        )
        undo.pop_all()
    return served


def _early(gate: Gate | None) -> Gate | None:
    """The same, but that it defers as soon as that is certain."""
    if gate is None or gate.early != "off" or isinstance(gate.rule, Agreement):
        return gate
    return replace(gate, early="certain")


def _name(path: Path, opened: Cascade) -> str:
    if path.is_dir():
        return opened.tiers[0].opened[0].info.name
    return path.stem
