"""What is found is written into any cascade file that can be read, and nothing else is touched."""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from escalade.edge import Cascade, OpenOptions
from escalade.edge.artifact import MANIFEST_NAME
from escalade.edge.base import sha256_of
from escalade.edge.calibration import calibrate_cascade
from escalade.edge.calibration.gates.writing import (
    manifests_of,
    member_weights_of,
    write_calibration,
)
from escalade.edge.cascade_file import read_cascade_file
from escalade.edge.deferral import (
    CascadeCalibration,
    CascadeMeasured,
    GateMeasured,
    RatesGoal,
)
from escalade.edge.errors import CalibrationError, CascadeError
from escalade.edge.opening import open_cascade

GATE = GateMeasured(reached=3, deferral_rate=1 / 3, deferral_interval=(0.1, 0.7))
FOUND = CascadeCalibration(
    data='a "trace".jsonl',
    data_sha256="0" * 64,
    goal=RatesGoal(targets=[0.25, 0.5]),
    cost="money",
    rules=["mean", "vote"],
    thresholds=[0.1, 1 / 3],
    members=[],
    fit=CascadeMeasured(n=3, gates=[GATE, GATE], cost=1e-7, last_tier_cost=2e22),
    seed=1,
    date="2026-01-31T12:00:00+00:00",
)

LAYOUTS = {
    "tables": """\
# head
[[tiers]]  # first
name = "small"
members = ["{2}"] # alone
gate = {{ rule = "mean" }}

[[tiers]]
name = "three"
members = ["{0}", "{1}", "{2}"]
[tiers.gate]
rule = "vote" # they vote

[[tiers]]
name = "large"
members = ["{0}"]
# tail
""",
    "no gate where the artifact has one": """\
[[tiers]]
members = ["{2}"]
# about the second
[[tiers]]
gate.rule = "vote"
members = [
    # about a member
    {{artifact = '{0}'}},
    "{1}",
]
[[tiers]]
members = ["{0}"]
""",
    "members as tables": """\
[[tiers]]
name = "a"
[[tiers.members]]
artifact = "{2}"
prompt_price = 1
[tiers.gate]
threshold = 7  # by hand

[[tiers]]
name = "b"
gate = {{rule = "vote"}}
[[tiers.members]]
artifact = "{0}"
[[tiers.members]]
artifact = "{1}"

[[tiers]]
name = "c"
[[tiers.members]]
artifact = "{0}"
""",
    "one line": (
        'tiers = [{{members = ["{2}"], gate = {{}}}},'
        ' {{members = ["{0}", "{1}"], gate = {{rule = "vote"}}}}, {{members = ["{0}"]}}]\n'
    ),
}


def found_of(cascade: Cascade) -> CascadeCalibration:
    return msgspec.structs.replace(FOUND, members=manifests_of(cascade))


def opened(path: Path) -> Cascade:
    return open_cascade(path, OpenOptions(threads=1), calibrated=False)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"], ids=["lf", "crlf"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_kept(
    folders: list[Path], tmp_path: Path, layout: str, line_end: str
) -> None:
    path = tmp_path / "cascade.toml"
    before = LAYOUTS[layout].format(*folders).replace("\n", line_end)
    path.write_bytes(before.encode())
    content, cascade = read_cascade_file(path), opened(path)
    first = found_of(cascade)
    for found in (first, msgspec.structs.replace(first, thresholds=[2.5, 0.0])):
        write_calibration(path, read_cascade_file(path), cascade, found)
        after = read_cascade_file(path)
        assert after.calibration == found
        for tier, table in enumerate(after.tiers):
            old = content.tiers[tier]
            pins = [one.manifest_sha256 for one in table.members if not isinstance(one, str)]
            assert pins == [
                sha256_of(member.artifact.folder / MANIFEST_NAME)
                for member in cascade.tiers[tier].opened
            ]
            assert (table.gate and table.gate.threshold) == [*found.thresholds, None][tier]
            assert (table.gate and table.gate.rule) == (old.gate and old.gate.rule)
        open_cascade(path, OpenOptions(threads=1)).close()
    text = path.read_bytes().decode()
    comments = [line.partition("#")[2] for line in before.splitlines() if "#" in line]
    assert all(f"#{comment}" in text for comment in comments)
    # Taken out again, what is left says what it said.
    assert tomllib.loads(text)["calibration"]["thresholds"] == [2.5, 0.0]


finite = st.floats(allow_nan=False, allow_infinity=False)


@pytest.fixture
def written(recording: Any, tmp_path: Path) -> Iterator[tuple[Path, Cascade]]:
    path = tmp_path / "cascade.toml"
    path.write_text(recording.cascade.read_text())
    cascade = opened(path)
    yield path, cascade
    cascade.close()


@settings(
    deadline=None,
    max_examples=40,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(thresholds=st.tuples(finite, finite), cost=st.floats(0, sys.float_info.max))
def test_every_number_is_read_back_to_the_last_bit(
    written: tuple[Path, Cascade], thresholds: tuple[float, float], cost: float
) -> None:
    path, cascade = written
    fit = msgspec.structs.replace(FOUND.fit, cost=cost)
    found = msgspec.structs.replace(found_of(cascade), thresholds=list(thresholds), fit=fit)
    write_calibration(path, read_cascade_file(path), cascade, found)
    assert read_cascade_file(path).calibration == found


def test_what_was_changed_meanwhile_is_left_alone(written: tuple[Path, Cascade]) -> None:
    path, cascade = written
    content = read_cascade_file(path)
    path.write_text(path.read_text().replace("EUR", "USD"))
    before = path.read_bytes()
    with pytest.raises(CalibrationError, match="was changed while it was calibrated"):
        write_calibration(path, content, cascade, FOUND)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_through_a_link_the_file_itself_is_written(
    written: tuple[Path, Cascade], tmp_path: Path
) -> None:
    path, cascade = written
    link = tmp_path / "current.toml"
    link.symlink_to(path)
    write_calibration(link, read_cascade_file(link), cascade, found_of(cascade))
    assert link.is_symlink()
    assert read_cascade_file(path).calibration == found_of(cascade)


def test_a_promise_does_not_stand_for_other_thresholds(written: tuple[Path, Cascade]) -> None:
    path, cascade = written
    write_calibration(path, read_cascade_file(path), cascade, found_of(cascade))
    good = path.read_text()
    for old, new, says in (
        (
            'rule = "mean", threshold = 0.1',
            'rule = "mean", threshold = 0.2',
            "got 0.2 under 'mean'",
        ),
        ('rule = "mean", threshold', 'rule = "sum", threshold', "got 0.1 under 'sum'"),
        ("thresholds = [0.1, ", "thresholds = [0.1, 0.2, ", "must be of 3 gates, as thresholds"),
        (
            "deferral_rate = 0.3",
            "deferral_rate = 1.3",
            r"deferral_rate must be in \[0, 1\], got 1.3",
        ),
        ('manifest_sha256 = "', 'manifest_sha256 = "0', "members, or their manifest_sha256, are"),
        ("seed = 1", "seed = -1", r"calibration.seed must be at least 0, got -1"),
        ("seed = 1", "sed = 1", "unknown field `sed`"),
        ('kind = "rates"', 'kind = "raites"', "raites"),
        ("[0.1, 0.7]", "[0.7, 0.1]", "an interval must rise"),
    ):
        assert old in good
        path.write_text(good.replace(old, new))
        with pytest.raises(CascadeError, match=says) as caught:
            read_cascade_file(path)
        assert len(str(caught.value).splitlines()) == 1
    # What was edited can be calibrated again.
    path.write_text(good.replace('rule = "mean", threshold = 0.1', 'rule = "mean", threshold = 9'))
    content = read_cascade_file(path, calibrated=False)
    opened(path).close()
    write_calibration(path, content, cascade, found_of(cascade))
    assert read_cascade_file(path).calibration == found_of(cascade)


def test_a_cascade_of_one_tier_has_no_gate(folders: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "cascade.toml"
    path.write_text(f'[[tiers]]\nmembers = ["{folders[0]}"]\n')
    with pytest.raises(CalibrationError, match="a cascade of 1 tier has no gate to calibrate"):
        calibrate_cascade(path, opened(path), tmp_path / "no trace", RatesGoal(targets=[0.5]))


def test_members_at_addresses_stay_as_they_are_and_hold_the_calibration(
    folders: list[Path], tmp_path: Path
) -> None:
    """They have no manifest and may move; how many they are and what they weigh is held."""
    path = tmp_path / "cascade.toml"
    panel = 'members = [{ address = "host:1", weight = 2 }, { address = "host:2" }] # far'
    path.write_text(
        f'[[tiers]]\nmembers = ["{folders[0]}"]\ngate = {{ rule = "mean" }}\n'
        f'[[tiers]]\n{panel}\ngate = {{ rule = "vote" }}\n'
        f'[[tiers]]\nmembers = ["{folders[2]}"]\n'
    )
    cascade = opened(path)
    weights = member_weights_of(cascade)
    assert weights == [1.0, 2.0, 1.0, 1.0]
    found = msgspec.structs.replace(found_of(cascade), weights=weights)
    write_calibration(path, read_cascade_file(path), cascade, found)
    cascade.close()
    good = path.read_text()
    assert panel in good
    assert [bool(pin) for pin in found.members] == [True, False, False, True]
    path.write_text(good.replace("host:1", "elsewhere:1"))
    open_cascade(path, OpenOptions(threads=1)).close()
    for old, new, says in (
        ("weight = 2", "weight = 3", "members' weights are"),
        ('{ address = "host:2" }', '{ address = "host:2" }, { address = "host:3" }', "members, or"),
    ):
        path.write_text(good.replace(old, new))
        with pytest.raises(CascadeError, match=says):
            read_cascade_file(path)
