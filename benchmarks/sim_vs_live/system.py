"""A cascade of two or three tiers as processes, with the live proxy on each link; measures nothing.

An ensemble of the bundled small models on the device, one at a gateway, the large one in the cloud;
all members of an ensemble must agree.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.study.jobs import REPOSITORY

from escalade.cli.demo.processes import running
from escalade.cli.output import note_console
from escalade.edge import EdgeClient, Query
from escalade.edge.artifact import Scheme
from escalade.export.artifact.artifact import export_artifact

#: What is exported: the device's members, and the gateway's. No larger model is bundled than the
#: cloud's, so that a gateway's are the device's with more bits, and one that CAT trained.
DEVICE: tuple[tuple[str, Scheme], ...] = (
    ("small-base", "int4"),
    ("small-xent", "int4"),
    ("small-cat-xent", "int4"),
)
GATEWAY: tuple[tuple[str, Scheme], ...] = (("small-cat-xent", "int8"), ("small-xent", "int8"))
#: All must agree.
_THRESHOLD = 0.25
_CHECKPOINTS = REPOSITORY / "training" / "checkpoints"


class Models(NamedTuple):
    """Artifacts of the two ensembles, and where the large model is served."""

    device: Sequence[Path]
    gateway: Sequence[Path]
    cloud: str


class System(NamedTuple):
    """A running cascade."""

    client: EdgeClient
    #: Where the device's link begins, and where that to the cloud does.
    address: str
    last: str
    #: Holds the proxies' counters: `cloud.json`, and `gateway.json` of three tiers.
    folder: Path


@contextmanager
def models(folder: Path, *, scheme: Scheme | None = None) -> Iterator[Models]:
    """Export into a folder what is not there yet, and serve the large model.

    Args:
        folder: of the exported models.
        scheme: of the device's, in place of theirs.
    """
    below = [(name, scheme or its_own) for name, its_own in DEVICE]
    device, gateway = (_exported(folder, which) for which in (below, GATEWAY))
    large = str(_CHECKPOINTS / "large")
    with running("the cloud", "serve", large, "--listen", "127.0.0.1:0", "--threads", "1") as cloud:
        yield Models(device, gateway, cloud)


def _exported(folder: Path, which: Sequence[tuple[str, Scheme]]) -> list[Path]:
    made = []
    for name, scheme in which:
        made.append(folder / f"{name}-{scheme}")
        if not made[-1].exists():
            note_console().print(f"exporting {name}, {scheme} ...")
            export_artifact(_CHECKPOINTS / name, made[-1], quantize=scheme)
    return made


@contextmanager
def system(
    folder: Path, with_: Models, profile: str, tiers: int, *, seed: str = ""
) -> Iterator[System]:
    """A client whose links, one or two, have a network's delay; its connections are open.

    Args:
        folder: gets `device.toml`, of three tiers also `gateway.toml` and, for the cloud alone,
            `all.toml`.
        with_: the models.
        profile: of each link.
        tiers: 2 or 3.
        seed: of what chance does; each link has its own, else all would meet the same losses.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:

        def link(to: str, stats: str) -> str:
            own = str(zlib.crc32(f"{seed} {stats}".encode()))
            where = ("--upstream", to, "--stats", str(folder / stats))
            options = ("--profile", profile, "--seed", own, *where)
            return stack.enter_context(running(f"proxy {profile}", "proxy", *options))

        last = link(with_.cloud, "cloud.json")
        address, place = last, "cloud"
        if tiers > 2:
            above = _cascade(folder / "gateway.toml", with_.gateway, address, place)
            _cascade(folder / "all.toml", with_.device, address, place)
            listening = ("gateway", str(above), "--listen", "127.0.0.1:0", "--threads", "1")
            served = stack.enter_context(running("the gateway", *listening))
            address, place = link(served, "gateway.json"), "gateway"
        below = _cascade(folder / "device.toml", with_.device, address, place)
        client = stack.enter_context(EdgeClient.open(below))
        client.trace_header()
        client.ask_last(Query(text="g2p: cat"))  # later calls find every connection open
        yield System(client, address, last, folder)


def _cascade(path: Path, members: Sequence[Path], address: str, place: str) -> Path:
    path.write_text(
        f"""[[tiers]]
name = "{path.stem}"
members = {json.dumps([str(one) for one in members])}
side_by_side = true
gate = {{ rule = "vote", threshold = {_THRESHOLD} }}

[[tiers]]
name = "{place}"
address = "{address}"
place = "{place}"
deadline_s = 30
"""
    )
    return path
