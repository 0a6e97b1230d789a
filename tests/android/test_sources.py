"""What of the Android app can be held without Android: its permissions, its words, its plan."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

from escalade.v1 import cascade_pb2 as pb

ANDROID = Path(__file__).resolve().parents[2] / "edge" / "android"
MAIN = ANDROID / "app" / "src" / "main"
CORE = ANDROID / "core" / "src" / "main" / "kotlin" / "escalade" / "core"
_NAME = "{http://schemas.android.com/apk/res/android}"


def xml(path: Path) -> ElementTree.Element:
    return ElementTree.fromstring(path.read_text())  # noqa: S314 - our own file


def kotlin(root: Path) -> dict[Path, str]:
    found = {path: path.read_text() for path in root.rglob("*.kt")}
    assert found
    return found


def test_it_asks_for_the_network_and_nothing_else() -> None:
    manifest = xml(MAIN / "AndroidManifest.xml")
    asked = [one.get(f"{_NAME}name") for one in manifest.iter("uses-permission")]
    assert asked == ["android.permission.INTERNET"]
    (application,) = manifest.iter("application")
    assert application.get(f"{_NAME}allowBackup") == "false"
    for attribute in ("networkSecurityConfig", "dataExtractionRules"):
        named = application.get(f"{_NAME}{attribute}", "")
        assert (MAIN / "res" / f"{named.removeprefix('@')}.xml").is_file()


def test_nothing_leaves_in_the_clear() -> None:
    config = xml(MAIN / "res" / "xml" / "network_security_config.xml")
    (base,) = config.iter("base-config")
    assert base.get("cleartextTrafficPermitted") == "false"
    assert [one.get("src") for one in config.iter("certificates")] == ["system"]
    clear = [
        domain.text
        for one in config.iter("domain-config")
        for domain in one.iter("domain")
        if one.get("cleartextTrafficPermitted") != "false"
    ]
    assert sorted(map(str, clear)) == ["127.0.0.1", "::1", "localhost"]


def test_every_text_of_the_screen_is_there_and_used() -> None:
    kept = {one.get("name") for one in xml(MAIN / "res" / "values" / "strings.xml")}
    code = "".join(kotlin(MAIN / "kotlin").values())
    manifest = (MAIN / "AndroidManifest.xml").read_text()
    used = {*re.findall(r"R\.string\.(\w+)", code), *re.findall(r"@string/(\w+)", manifest)}
    assert kept == used


def test_core_knows_kotlin_and_java_alone_and_its_rooms_no_circle() -> None:
    rooms: dict[str, set[str]] = {}
    for path, text in kotlin(CORE).items():
        taken = re.findall(r"^import ([\w.]+)", text, re.MULTILINE)
        assert all(one.startswith(("escalade.core.", "java.", "kotlin.")) for one in taken), path
        room = path.relative_to(CORE).parts[0]
        others = {one.split(".")[2] for one in taken if re.match(r"escalade\.core\.[a-z]+\.", one)}
        rooms.setdefault(room, set()).update(others - {room})
    while rooms:
        free = [room for room, known in rooms.items() if not known & rooms.keys()]
        assert free, f"a circle among {sorted(rooms)}"
        rooms = {room: known for room, known in rooms.items() if room not in free}


def test_the_wires_stop_reasons_stand_in_their_order() -> None:
    text = (CORE / "wire" / "Heard.kt").read_text()
    names = re.findall(r"^    ([A-Z_]+)\((?:true|false)\),$", text, re.MULTILINE)
    wanted = [(f"STOP_REASON_{name}", number) for number, name in enumerate(names)]
    assert wanted == sorted(pb.StopReason.items(), key=lambda one: one[1])


def test_what_is_compiled_here_is_the_kotlin_that_the_build_names() -> None:
    toolchain = Path(__file__).with_name("toolchain.py").read_text()
    (here,) = re.findall(r'^KOTLIN = "([\d.]+)"', toolchain, re.MULTILINE)
    (there,) = re.findall(
        r'kotlin\("jvm"\) version "([\d.]+)"', (ANDROID / "settings.gradle.kts").read_text()
    )
    assert here == there


def test_no_test_of_the_modules_is_left_out() -> None:
    """`make test-android` runs the classes of files that are called so."""
    for module in ("core", "wire"):
        for path, text in kotlin(ANDROID / module / "src" / "test").items():
            assert ("@Test" in text) == path.stem.endswith("Test"), path


def test_each_file_says_first_what_it_is() -> None:
    for path, text in kotlin(ANDROID).items():
        assert text.startswith("// "), path
        assert len(text.splitlines()) <= 250, path
