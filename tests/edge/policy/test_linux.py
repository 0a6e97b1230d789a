"""Battery and link as Linux says them: trees like sysfs, and a NetworkManager on a real bus."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from escalade.edge.policy import Battery
from escalade.edge.policy.linux import battery_state, link_state

Supply = dict[str, str]


def tree(root: Path, **supplies: Supply) -> Path:
    root.mkdir(exist_ok=True)
    for name, files in supplies.items():
        (root / name).mkdir()
        for file, text in files.items():
            (root / name / file).write_text(f"{text}\n")
    return root


BAT = {"type": "Battery", "present": "1", "capacity": "42", "status": "Discharging"}


@pytest.mark.parametrize(
    ("supplies", "expected"),
    [
        ({}, Battery(None, charging=True)),
        ({"BAT0": BAT}, Battery(0.42, charging=False)),
        ({"BAT0": BAT | {"status": "Charging"}}, Battery(0.42, charging=True)),
        ({"BAT0": BAT | {"status": "Full"}}, Battery(0.42, charging=True)),
        ({"BAT0": BAT | {"status": "Unknown"}}, Battery(0.42, charging=False)),
        ({"BAT0": BAT, "AC": {"type": "Mains", "online": "1"}}, Battery(0.42, charging=True)),
        ({"BAT0": BAT, "AC": {"type": "Mains", "online": "0"}}, Battery(0.42, charging=False)),
        ({"BAT0": BAT, "BAT1": BAT | {"capacity": "58"}}, Battery(0.5, charging=False)),
        ({"BAT0": BAT | {"present": "0"}}, Battery(None, charging=True)),
        ({"mouse": BAT | {"scope": "Device"}}, Battery(None, charging=True)),
        ({"BAT0": BAT | {"capacity": "many"}}, Battery(None, charging=False)),
        ({"BAT0": BAT | {"capacity": "900"}}, Battery(None, charging=False)),
        (
            {"BAT0": {"type": "Battery", "energy_now": "10", "energy_full": "40"}},
            Battery(0.25, charging=False),
        ),
        (
            {"BAT0": {"type": "Battery", "charge_now": "30", "charge_full": "0"}},
            Battery(None, charging=False),
        ),
    ],
)
def test_the_battery_is_read(
    supplies: dict[str, Supply], expected: Battery, tmp_path: Path
) -> None:
    assert battery_state(tree(tmp_path / "power_supply", **supplies)) == expected


def test_a_kernel_that_says_nothing_is_not_known(tmp_path: Path) -> None:
    assert battery_state(tmp_path / "none") is None
    assert link_state(tmp_path / "none", tmp_path / "route", bus="unix:path=/none") == "unknown"


ROUTES = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n"


@pytest.mark.parametrize(
    ("routes", "expected"),
    [
        (["wwan0\t00000000\t0100000A\t0003\t0\t0\t700\t00000000\t0\t0\t0"], "metered"),
        (["ppp0\t00000000\t0100000A\t0001\t0\t0\t0\t00000000\t0\t0\t0"], "metered"),
        (["eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0"], "unknown"),
        (
            [
                "wwan0\t00000000\t0100000A\t0003\t0\t0\t700\t00000000\t0\t0\t0",
                "eth0\t00000000\t0100000A\t0003\t0\t0\t100\t00000000\t0\t0\t0",
            ],
            "unknown",
        ),
        (["wwan0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0"], "unknown"),
        (["wwan0\t00000000\tnonsense", "", "x"], "unknown"),
    ],
)
def test_a_modem_is_metered_where_no_networkmanager_speaks(
    routes: list[str], expected: str, tmp_path: Path
) -> None:
    (tmp_path / "route").write_text(ROUTES + "\n".join(routes) + "\n")
    interfaces = tree(
        tmp_path / "net",
        wwan0={"uevent": "DEVTYPE=wwan\nINTERFACE=wwan0", "type": "65534"},
        ppp0={"uevent": "INTERFACE=ppp0", "type": "512"},
        eth0={"uevent": "INTERFACE=eth0", "type": "1"},
    )
    found = link_state(interfaces, tmp_path / "route", bus="unix:path=/none")
    assert found == expected


CONFIG = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*"/><allow receive_sender="*"/>
<allow own="*"/></policy>
</busconfig>"""


@contextmanager
def networkmanager(folder: Path, metered: Callable[[], int]) -> Iterator[str]:
    """A bus of our own, and somebody on it who answers as NetworkManager does."""
    from jeepney import HeaderFields, MessageType, new_error, new_method_return
    from jeepney.bus_messages import message_bus
    from jeepney.io.blocking import open_dbus_connection

    address = f"unix:path={folder / 'bus'}"
    (folder / "bus.conf").write_text(CONFIG.format(path=folder / "bus"))
    command = ["dbus-daemon", f"--config-file={folder / 'bus.conf'}", "--print-address=1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as daemon:
        try:
            assert daemon.stdout is not None
            daemon.stdout.readline()
            service = open_dbus_connection(address)
            service.send_and_get_reply(message_bus.RequestName("org.freedesktop.NetworkManager"))

            def serve() -> None:
                while True:
                    try:
                        message = service.receive()
                    except (OSError, ConnectionError):
                        return
                    if message.header.message_type is not MessageType.method_call:
                        continue
                    if message.header.fields[HeaderFields.member] != "Get":
                        service.send(new_error(message, "org.example.No"))
                        continue
                    assert message.body == ("org.freedesktop.NetworkManager", "Metered")
                    service.send(new_method_return(message, "v", (("u", metered()),)))

            thread = threading.Thread(target=serve, daemon=True)
            thread.start()
            yield address
            daemon.terminate()
            thread.join(10)  # its connection has ended
            service.close()
        finally:
            daemon.kill()


@pytest.mark.skipif(shutil.which("dbus-daemon") is None, reason="there is no dbus-daemon here")
def test_networkmanager_is_taken_at_its_word(tmp_path: Path) -> None:
    said = [0]
    none = tmp_path / "none"
    with networkmanager(tmp_path, lambda: said[0]) as bus:
        found = []
        for said[0] in range(6):
            found.append(link_state(none, none, bus=bus))
    # NMMetered: unknown, yes, no, guess-yes, guess-no; and a number of a later version.
    assert found == ["unknown", "metered", "unmetered", "metered", "unmetered", "unknown"]


def test_a_bus_that_never_answers_is_left_there(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "bus"))
        silent.listen()
        none = tmp_path / "none"
        assert link_state(none, none, bus=f"unix:path={tmp_path / 'bus'}") == "unknown"
