"""Changes a running proxy's network, and tells what it is and was; knows no HTTP."""

from __future__ import annotations

import msgspec

from escalade.simulator.network.described import ProfileRow, row_of
from escalade.simulator.network.profiles import Profiles, get_profile, with_fields
from escalade.simulator.network.proxy.proxy import Proxy

Fields = dict[str, object]


class Asked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change to.

    Attributes:
        profile: a name; None keeps the present one, and the fields that were changed of it.
        fields: in place of the profile's own, as a file of profiles writes them; None leaves one
            out.
    """

    profile: str | None = None
    fields: Fields = {}


class Before(msgspec.Struct, frozen=True, kw_only=True):
    """The network before the last change, and how long it held."""

    profile: str
    fields: Fields
    held_s: float


class ProxyState(msgspec.Struct, frozen=True, kw_only=True):
    """What a proxy does now, and what went through so far."""

    #: Of the network; and the fields that are not the profile's own.
    profile: str
    fields: Fields
    #: Since it was changed to, or the proxy began; seconds.
    since_s: float
    changes: int
    before: Before | None
    network: ProfileRow
    #: Whether nothing is let in.
    paused: bool
    #: Connections: now, in all, and those that were reset from here.
    open: int
    connections: int
    reset: int
    #: TCP payload that was delivered to the upstream, and to the devices.
    bytes_up: int
    bytes_down: int


class Control:
    """The changes of one proxy; for the thread of its event loop."""

    def __init__(self, proxy: Proxy, known: Profiles | None) -> None:
        """Begin with the proxy's profile.

        Args:
            proxy: whose network is changed.
            known: profiles by name; None is those that come with the package.
        """
        self._proxy = proxy
        self._known = known
        self._base = proxy.profile
        self._fields: Fields = {}
        self._since_s = proxy.clock.now()
        self._before: Before | None = None
        self._changes = self._reset = 0

    def state(self) -> ProxyState:
        """What is now."""
        proxy, counters = self._proxy, self._proxy.counters
        return ProxyState(
            profile=self._base.name,
            fields=self._fields,
            since_s=proxy.clock.now() - self._since_s,
            changes=self._changes,
            before=self._before,
            network=row_of(proxy.profile),
            paused=proxy.paused,
            open=proxy.open,
            connections=counters.connections,
            reset=self._reset,
            bytes_up=counters.bytes_up,
            bytes_down=counters.bytes_down,
        )

    def set(self, asked: Asked) -> None:
        """Change the network for what comes from now on.

        Raises:
            ProfileError: a name or field is unknown, or a value is of another type or out of range;
                then nothing changes.
        """
        base, fields = self._base, self._fields | asked.fields
        if asked.profile is not None:
            base, fields = get_profile(asked.profile, self._known), asked.fields
        self._proxy.change(with_fields(base, fields))
        now_s = self._proxy.clock.now()
        self._before = Before(
            profile=self._base.name, fields=self._fields, held_s=now_s - self._since_s
        )
        self._base, self._fields, self._since_s = base, fields, now_s
        self._changes += 1

    def pause(self) -> None:
        """Let nothing in, until `resume`."""
        self._proxy.pause()

    def resume(self) -> None:
        """Let in what waits."""
        self._proxy.resume()

    def reset(self) -> None:
        """Reset every open connection."""
        self._reset += self._proxy.reset()
