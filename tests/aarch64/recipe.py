"""Walks docs/raspberry-pi.md on the emulated board: signed store, service, update, going back.

It knows no kernels and no systemd: the unit's command line is started as it stands, as root.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from arm64_tree import PYTHON, REPO, CheckError, Cpu, last_line, run, run_in
from listening import listened

UNIT = REPO / "edge" / "pi" / "escalade.service"
SCRIPT = f"{Path(PYTHON).parent}/escalade"
STORE = "/opt/escalade/store"
_KEY = "/etc/escalade/pub.pem"
_CASCADE = """trusted_key = "pub.pem"

[[tiers]]
name = "small"
members = ["/opt/escalade/store/current"]

[[tiers]]
name = "large"
address = "{cloud}"
"""


class Signed(NamedTuple):
    """Folders of artifacts, as the tree has them, and the public key that signed the first two."""

    first: str
    #: The same with another threshold, made later.
    following: str
    #: The second, of which a byte was changed after it was signed.
    tampered: str
    #: The second, signed by somebody else.
    foreign: str


def sign(artifact: Path, recalibrated: tuple[str, ...], tree: Path, shared: str) -> Signed:
    """On this machine: keys, and what is shipped to the board.

    Args:
        artifact: calibrated.
        recalibrated: options of `escalade calibrate` that give it another threshold.
        tree: the board's.
        shared: the folder of the tree in which artifacts lie.
    """
    home = tree / shared
    keys = {}
    for who in ("ours", "theirs"):
        keys[who] = home / f"{who}.pem"
        keys[who].unlink(missing_ok=True)
        run(
            "openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(keys[who])
        )
    public = tree / _KEY.lstrip("/")
    public.parent.mkdir(exist_ok=True)
    run("openssl", "ec", "-in", str(keys["ours"]), "-pubout", "-out", str(public))
    folders = {name: home / f"signed-{name}" for name in Signed._fields}
    for folder in folders.values():
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(artifact, folder)
        if folder != folders["first"]:
            _escalade_here("calibrate", str(folder), *recalibrated)
        key = keys["theirs" if folder == folders["foreign"] else "ours"]
        _escalade_here("store", "sign", str(folder), "--key", str(key))
    program = folders["tampered"] / "model.onnx"
    stored = program.read_bytes()
    program.write_bytes(stored[:-1] + bytes([stored[-1] ^ 1]))
    shutil.rmtree(tree / STORE.lstrip("/"), ignore_errors=True)
    return Signed(*(f"/{shared}/{folder.name}" for folder in folders.values()))


def walk(
    tree: Path, cpu: Cpu, signed: Signed, *, cloud: str, prompts: list[str], log: Path
) -> Iterator[str]:
    """Install, serve, update, go back; yields a line for each step that went otherwise.

    Args:
        tree: the board's.
        cpu: its processor.
        signed: what was shipped.
        cloud: HOST:PORT of the tier above.
        prompts: what is asked of the endpoint, surest first.
        log: takes what the endpoint prints.

    Raises:
        CheckError: the endpoint does not come up, or does not answer.
    """

    def store(verb: str, *arguments: str) -> str | None:
        done = run_in(tree, cpu, PYTHON, SCRIPT, "store", verb, *arguments)
        if done.returncode not in {0, 2}:
            raise CheckError(f"escalade store {verb}: {last_line(done)}")
        return None if done.returncode == 0 else done.stderr

    def threshold() -> float:
        (line,) = re.findall(r"^ExecStart=(.*)$", UNIT.read_text(), re.M)
        command = shlex.split(line.replace("%E", "/etc").replace("8080", "0"))
        choices = listened(tree, cpu, (PYTHON, *command), prompts=prompts, log=log)
        outcomes = [choice.escalade.outcome for choice in choices]
        if outcomes != ["answered", "deferred"]:
            raise CheckError(f"the unit's listen: {outcomes}, not answered and deferred")
        return choices[0].escalade.threshold

    (tree / "etc/escalade/cascade.toml").write_text(_CASCADE.format(cloud=cloud))
    trusted = (STORE, "--trusted-key", _KEY)
    # Into an empty store: a file whose bytes a version there has is not fetched again.
    for folder, word in ((signed.tampered, "model.onnx"), (signed.foreign, "signature")):
        if (said := store("install", folder, *trusted)) is None or word not in said:
            yield f"store install {folder}: not refused for its {word}, but {said}"
    if (said := store("install", signed.first, *trusted)) is not None:
        yield f"store install: {said}"
        return
    before = threshold()
    if (said := store("install", signed.foreign, *trusted)) is None:
        yield "store install of another's update: not refused"
    if (said := store("install", signed.following, *trusted)) is not None:
        yield f"store install of the next: {said}"
    if (after := threshold()) == before:
        yield f"after the update the threshold is {after}, as before"
    if (said := store("install", signed.first, *trusted)) is None or "before" not in said:
        yield f"store install of an older one: not refused, but {said}"
    if (said := store("rollback", STORE)) is not None:
        yield f"store rollback: {said}"
    if (back := threshold()) != before:
        yield f"after going back the threshold is {back}, not {before}"


def _escalade_here(*arguments: str) -> None:
    run(sys.executable, "-m", "escalade.cli", *arguments)
