"""The table of devices: sourced, in range, and what one makes of another's seconds."""

from __future__ import annotations

from pathlib import Path

import pytest

from escalade.simulator.devices import Device, device_rows, devices_with, get_device, replayed_named
from escalade.simulator.errors import ProfileError

GOOD = {"resnet18_ms": 10.0, "battery_wh": 15.0, "watts": 4.0}


def test_every_device_is_sourced_and_threads_help() -> None:
    for name, device in devices_with(None).items():
        assert device.name == name
        assert device.source
        assert device.resnet18_1_thread_ms is None or (
            device.resnet18_ms < device.resnet18_1_thread_ms
        )


def test_what_is_shipped_of_power_and_batteries_names_its_source() -> None:
    for device in devices_with(None).values():
        assert (device.watts is None) == ("power:" not in device.source)
    known = devices_with(None)
    assert {name: one.watts for name, one in known.items() if one.watts} == {
        "pi-zero-2-w": 2.33,
        "pi-4": 6.4,
        "pi-5": 9.8,
    }
    # A browser on the phone has its battery.
    batteries = {name: one.battery_wh for name, one in known.items() if one.battery_wh}
    assert batteries == {"phone-2023": 14.69, "browser-phone-2023": 14.69}
    assert "battery:" in known["phone-2023"].source


def test_scales_are_ratios_and_undo_each_other() -> None:
    # Of the README: 123 ms on a Pi 4, 20 ms on a Pi 5.
    assert replayed_named("pi-5=pi-4").scale == pytest.approx(6.15)
    assert replayed_named("pi-5=pi-4").scale * replayed_named("pi-4=pi-5").scale == pytest.approx(1)
    assert replayed_named("pi-4=pi-4").scale == 1
    rows = {row.name: row for row in device_rows(devices_with(None).values())}
    assert rows["phone-2023"].times_fastest == 1
    assert rows["browser-phone-2023"].times_fastest == pytest.approx(15.8)


def test_a_file_adds_and_takes_the_place_of_what_has_its_name(tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    path.write_text(
        '[laptop]\nresnet18_ms = 5\nbattery_wh = 60\nwatts = 20\nsource = "ours"\n'
        '[pi-4]\nresnet18_ms = 100\nsource = "ours, overclocked"\n'
    )
    known = devices_with(path)
    assert replayed_named("laptop=pi-4", known).scale == 20
    assert get_device("laptop", known).battery_wh == 60
    assert get_device("pi-4").resnet18_ms == 123


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("[x]\nresnet18_ms = 5", "device 'x': Object missing required field `source`"),
        ('[x]\nresnet18_m = 5\nsource = ""', "`resnet18_m`; did you mean 'resnet18_ms'?"),
        ('[x]\nresnet18_ms = 0\nsource = ""', "0.001 <= resnet18_ms <= 3.6e+06; got 0.0"),
        ('[x]\nresnet18_ms = nan\nsource = ""', "got nan"),
        ("x = 1", "device 'x' must be a table, [x]; got 1"),
    ],
)
def test_one_line_names_file_field_range_and_value(content: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "devices.toml"
    path.write_text(content)
    with pytest.raises(ProfileError) as caught:
        devices_with(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert says in str(caught.value)


@pytest.mark.parametrize(("field", "value"), [("battery_wh", -1.0), ("watts", float("inf"))])
def test_a_battery_is_in_range(field: str, value: float) -> None:
    Device(name="mine", source="test", **GOOD)
    with pytest.raises(ProfileError, match=rf"'mine': {field} must be .*<=.*; got {value}"):
        Device(name="mine", source="test", **{**GOOD, field: value})


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("pi-4", "must be RECORDED=DEVICE, the one that recorded"),
        ("pi-5=pi-44", "got 'pi-44'; did you mean 'pi-4'?"),
        ("=pi-4", "got ''"),
    ],
)
def test_a_device_that_is_none(asked: str, says: str) -> None:
    with pytest.raises(ProfileError, match="device") as caught:
        replayed_named(asked)
    assert says in str(caught.value)
