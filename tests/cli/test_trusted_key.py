"""Every verb that opens artifacts opens, where it is asked to, only what a key has signed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.main import get_command

from escalade.cli.main import app

Invoke = Callable[..., tuple[int, str, str]]

OPENING = {"cascade", "artifact"}
# They make what they open, or sign it; the last reads its size alone.
OTHERS = {"sign", "export", "demo", "evaluate"}


def verbs(command: object = None) -> dict[str, set[str]]:
    """Parameters of each verb, those of `store` too."""
    found = {}
    for name, one in getattr(command or get_command(app), "commands", {}).items():
        found.update(verbs(one) or {name: {parameter.name for parameter in one.params}})
    return found


def test_every_verb_that_takes_an_artifact_takes_a_key() -> None:
    opening = {name for name, taken in verbs().items() if taken & OPENING} - OTHERS
    assert {"ask", "record", "calibrate", "inspect", "gateway", "verify"} <= opening
    assert [name for name in sorted(opening) if "trusted_key" not in verbs()[name]] == []


VERBS = {
    "ask": ["g2p: cat"],
    "record": ["--data", "{data}", "--out", "{out}"],
    "calibrate": ["--trace", "{data}", "--target-deferral-rate", "0.5"],
    "inspect": [],
    "gateway": ["--listen", "127.0.0.1:0"],
    "verify": [],
    "install": ["{out}"],
}
CASCADE = '[[tiers]]\nmembers = ["a"]\ngate = {threshold = 0.5}\n[[tiers]]\nmembers = ["b", "a"]\n'


@pytest.mark.parametrize("as_file", [False, True], ids=["artifact", "cascade"])
@pytest.mark.parametrize("verb", VERBS)
def test_what_is_not_signed_is_refused(
    invoke: Invoke, float_artifact: Path, tmp_path: Path, verb: str, as_file: bool
) -> None:
    of_store = verb in {"verify", "install"}
    if as_file and of_store:
        return  # artifacts alone
    shutil.copytree(float_artifact, tmp_path / "a")
    (tmp_path / "cascade.toml").write_text(CASCADE)
    data = tmp_path / "data.jsonl"
    data.write_text('{"id": "1", "task": "g2p", "prompt": "g2p: cat", "references": ["x"]}\n')
    given = [one.format(data=data, out=tmp_path / "out") for one in VERBS[verb]]
    where = tmp_path / ("cascade.toml" if as_file else "a")
    key = tmp_path / "pub.pem"
    code, out, err = invoke(
        *(["store"] if of_store else []), verb, where, *given, "--trusted-key", key
    )
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].startswith("error: ")
    assert "not signed" in err
    assert not (tmp_path / "out").exists()
