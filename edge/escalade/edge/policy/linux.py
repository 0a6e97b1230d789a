"""What Linux says of battery and link: sysfs, and NetworkManager over D-Bus; knows no rule.

Both are read anew for each query that is due: a file of sysfs takes microseconds, a question on
the bus a few milliseconds, and a link that was free a moment ago may not be any more.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from threading import Thread

from escalade.edge.policy.rules import Battery, LinkState

_SUPPLIES = Path("/sys/class/power_supply")
_INTERFACES = Path("/sys/class/net")
_ROUTES = Path("/proc/net/route")
# NetworkManager has its answer at hand.
_BUS_WITHIN_S = 1.0
# NMMetered (NetworkManager's D-Bus API): 1 yes, 2 no, 3 and 4 the same as guessed, 0 unknown. A
# guess is by the modem, or by what a phone's hotspot says in DHCP, and is taken at its word.
_METERED: dict[int, LinkState] = {1: "metered", 2: "unmetered", 3: "metered", 4: "unmetered"}
# Of a battery: what it has, and of how much; a capacity is percent.
_LEVELS = (("capacity", ""), ("energy_now", "energy_full"), ("charge_now", "charge_full"))
# RTF_UP of <linux/route.h>; ARPHRD_PPP of <linux/if_arp.h>.
_ROUTE_UP, _PPP = 0x1, 512
# Of sysfs-class-power; "Not charging" is full, or kept below it, on mains.
_ON_MAINS = {"Charging", "Full", "Not charging"}


def battery_state(supplies: Path = _SUPPLIES) -> Battery | None:
    """How the machine is fed; None where the kernel does not say.

    A machine without a battery is on mains. Of several batteries the mean level counts; those of a
    mouse or a headset (scope `Device`) are not the machine's.

    Args:
        supplies: `power_supply` of sysfs (sysfs-class-power).
    """
    try:
        all_ = sorted(supplies.iterdir())
    except OSError:
        return None
    levels: list[float] = []
    found, charging = False, False
    for supply in all_:
        kind = _word(supply / "type")
        if kind == "Battery" and _word(supply / "scope") != "Device":
            if _word(supply / "present") == "0":
                continue
            found = True
            charging = charging or _word(supply / "status") in _ON_MAINS
            level = _level(supply)
            if level is not None:
                levels.append(level)
        elif kind in {"Mains", "USB", "Wireless"} and _word(supply / "scope") != "Device":
            charging = charging or _word(supply / "online") == "1"
    if not found:
        return Battery(None, charging=True)
    return Battery(sum(levels) / len(levels) if levels else None, charging)


def link_state(
    interfaces: Path = _INTERFACES, routes: Path = _ROUTES, *, bus: str | None = None
) -> LinkState:
    """What the link costs that bytes would go over by default.

    NetworkManager's word, where it runs and knows. Else a modem's interface is metered, and
    nothing is known of any other: a wire may lead to a telephone.

    Args:
        interfaces: `net` of sysfs.
        routes: the kernel's table of IPv4 routes.
        bus: a D-Bus address; None takes the system's bus.
    """
    said = _network_manager(bus)
    if said != "unknown":
        return said
    name = _default_interface(routes)
    if name is None:
        return "unknown"
    modem = "DEVTYPE=wwan" in _word(interfaces / name / "uevent").split()
    return "metered" if modem or _word(interfaces / name / "type") == str(_PPP) else "unknown"


def _network_manager(bus: str | None) -> LinkState:
    """Its word, within a second: a library that waits for ever at the bus's door is left there."""
    said: list[LinkState] = []

    def ask() -> None:
        with suppress(Exception):  # no bus, no NetworkManager, or one that says nonsense
            said.append(_METERED.get(_metered(bus), "unknown"))

    asking = Thread(target=ask, name="metered", daemon=True)
    asking.start()
    asking.join(_BUS_WITHIN_S)
    return said[0] if said else "unknown"


def _metered(bus: str | None) -> int:
    from jeepney import DBusAddress, MessageFlag, Properties
    from jeepney.io.blocking import open_dbus_connection

    manager = DBusAddress(
        "/org/freedesktop/NetworkManager",
        bus_name="org.freedesktop.NetworkManager",
        interface="org.freedesktop.NetworkManager",
    )
    asked = Properties(manager).get("Metered")
    asked.header.flags |= MessageFlag.no_auto_start  # where it does not run nobody wants it to
    with open_dbus_connection(bus or "SYSTEM", auth_timeout=_BUS_WITHIN_S) as connection:
        reply = connection.send_and_get_reply(asked, timeout=_BUS_WITHIN_S)
    ((_, metered),) = reply.body
    return int(metered)


def _default_interface(routes: Path) -> str | None:
    """Of the default route with the lowest metric."""
    best: tuple[int, str] | None = None
    for line in _word(routes).splitlines()[1:]:
        columns = line.split()
        try:
            name, to, flags, metric, mask = (columns[at] for at in (0, 1, 3, 6, 7))
            default = int(to, 16) == int(mask, 16) == 0 and int(flags, 16) & _ROUTE_UP
            if default and (best is None or int(metric) < best[0]):
                best = int(metric), name
        except (IndexError, ValueError):
            continue
    return None if best is None else best[1]


def _level(supply: Path) -> float | None:
    """0..1, by its own word, or by energy or charge."""
    for now, full in _LEVELS:
        try:
            has = float(_word(supply / now))
            of = float(_word(supply / full)) if full else 100.0
            level = has / of
        except (ValueError, ZeroDivisionError):
            continue
        if 0.0 <= level <= 1.0:
            return level
    return None


def _word(path: Path) -> str:
    """What a small file says; nothing where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
