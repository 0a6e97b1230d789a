"""How threads of torch are told to wait, and by whom."""

from __future__ import annotations

import pytest

from escalade.cli.process import wait_briefly

NAMES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, ("PASSIVE", "300")),
        ({"GOMP_SPINCOUNT": "7"}, ("PASSIVE", "7")),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, ("ACTIVE", None)),
    ],
)
def test_who_has_said_how_is_heeded(
    monkeypatch: pytest.MonkeyPatch, before: dict[str, str], after: tuple[str, str | None]
) -> None:
    environ = dict(before)
    monkeypatch.setattr("os.environ", environ)
    wait_briefly()
    assert tuple(environ.get(name) for name in NAMES) == after
