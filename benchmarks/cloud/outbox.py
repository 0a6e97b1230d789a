"""Whether queries that wait are answered once each, whoever is killed: device, flush or server.

    .venv/bin/python benchmarks/cloud/outbox.py [--queries 1000] [--kills 50] [--seed 1] [--json]

The bundled small model answers while nobody is there, and every query is kept. Then the bundled
large model is served, and two processes at once ask what waits. All the time one of the processes
is killed (SIGKILL) at a random instant of its work, and begun again. A trigger in the outbox's file
counts each answer that is written, in the transaction that writes it. At the end every answer is
held against what the server says when it is asked directly.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from rich.table import Table

from escalade.cli.output import note_console, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import EdgeClient, OpenOptions, Query
from escalade.edge.base import read_records
from escalade.edge.outbox import Entry

CHECKPOINTS = Path(__file__).parents[2] / "training" / "checkpoints"
START_S, ALL_S = 180.0, 1800.0
DEADLINE_S = 1.0
# The longest work before a kill; who asks begins with three deadlines in vain.
ASKING_S, FLUSHING_S = 8.0, 3.0
# Of rounds of two flushes, those in which the server is killed and not they.
SERVER_SHARE = 0.25
SPAWN = multiprocessing.get_context("spawn")


@dataclass
class Found:
    """What became of the queries."""

    queries: int
    killed_asking: int
    killed_flushing: int
    killed_servers: int
    answers_written: int
    written_twice: int
    handed_out: int
    #: By who died after he had taken an answer and before it was out of the outbox.
    handed_out_again: int
    left: int
    unlike_the_server: int
    seconds: float


def open_client(folder: Path, address: str, deadline_s: float = DEADLINE_S) -> EdgeClient:
    """A device that defers everything."""
    options = OpenOptions(
        threshold=-1.0,
        deadline_s=deadline_s,
        threads=1,
        on_outage="queue",
        outbox=folder / "outbox.sqlite",
    )
    return EdgeClient.open(folder / "artifact", options, cloud=address)


def ask(folder: Path, address: str, prompts: Sequence[str], ready: Connection) -> None:
    """A device without a network: ask what is not kept yet."""
    with open_client(folder, address) as client:
        known = {entry.id for entry in client.outbox.entries()} if client.outbox else set()
        ready.send(None)
        ready.recv()
        for number, prompt in enumerate(prompts):
            if (name := f"query {number}") not in known:
                client.ask(Query(text=prompt, request_id=name))


def flush(folder: Path, address: str, ready: Connection) -> None:
    """A device with a network; answers go to a file that outlives it."""
    with open_client(folder, address) as client, (folder / "taken.jsonl").open("ab", 0) as taken:

        def take(entry: Entry) -> None:
            taken.write(json.dumps([entry.id, entry.answer]).encode() + b"\n")

        ready.send(None)
        ready.recv()
        client.flush(take)


def started(count: int, target: object, *arguments: object) -> list[BaseProcess]:
    """So many processes, which begin their work together."""
    processes, pipes = [], []
    for _ in range(count):
        ours, theirs = SPAWN.Pipe()
        process = SPAWN.Process(target=target, args=(*arguments, theirs))  # type: ignore[arg-type]
        process.start()
        theirs.close()
        processes.append(process)
        pipes.append(ours)
    for pipe in pipes:
        if not pipe.poll(START_S):
            raise SystemExit(f"outbox: a process did not start within {START_S:g} s")
        pipe.recv()
    for pipe in pipes:
        pipe.send(None)
    return processes


def killed(process: BaseProcess, after_s: float) -> bool:
    """Kill it, unless it ends before."""
    process.join(after_s)
    alive = process.is_alive()
    process.kill()
    process.join()
    if not alive and process.exitcode:
        raise SystemExit(f"outbox: a process ended with {process.exitcode}")
    return alive


class Server:
    """`escalade serve` at an address of its own; may be killed and begun again."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when it serves."""
        command = [sys.executable, "-m", "escalade.cli", "serve", str(CHECKPOINTS / "large")]
        self._process = subprocess.Popen(
            [*command, "--listen", self.address, "--threads", "1", "--deterministic"],
            stderr=subprocess.PIPE,
            text=True,
        )
        if not any(line.startswith("serving") for line in self._process.stderr or ()):
            raise SystemExit("outbox: the server did not start")

    def kill(self) -> None:
        """SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def audit(path: Path) -> None:
    """Have each answer counted in the transaction that writes it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as file:
        file.execute("CREATE TABLE written (id TEXT)")
        file.execute(
            "CREATE TRIGGER count_it AFTER UPDATE OF state ON kept WHEN NEW.state = 'answered'"
            " BEGIN INSERT INTO written VALUES (NEW.id); END"
        )


def say(line: str) -> None:
    """How far it is."""
    note_console().print(f"outbox: {line}", style="dim")


def waiting(path: Path) -> int:
    """How many rows are in the outbox."""
    with closing(sqlite3.connect(path)) as file:
        return int(file.execute("SELECT count(*) FROM kept").fetchone()[0])


def prepare(folder: Path, count: int) -> list[str]:
    """An artifact and queries; gives their prompts."""
    run = [sys.executable, "-m", "escalade.cli"]
    small = str(CHECKPOINTS / "small-cat-xent")
    export = [*run, "export", small, str(folder / "artifact"), "--quantize", "int8"]
    subprocess.run(export, check=True, capture_output=True)
    subprocess.run([*run, "tasks", str(folder / "data")], check=True, capture_output=True)
    return [one.prompt for one in read_records(folder / "data" / "valid.jsonl")][:count]


def measure(folder: Path, queries: int, kills: int, seed: int) -> Found:
    """Queue, kill, flush, kill, compare."""
    rng, began_s = random.Random(seed), time.monotonic()  # noqa: S311 - no secret
    prompts, server, box = prepare(folder, queries), Server(), folder / "outbox.sqlite"
    with open_client(folder, server.address):
        audit(box)
    of_asking, of_servers = kills * 2 // 5, kills // 10
    asking = flushing = servers = 0
    while (there := waiting(box)) < queries:
        say(f"{there} of {queries} queued, {asking} killed")
        work_s = rng.uniform(0, ASKING_S) if asking < of_asking else ALL_S
        (process,) = started(1, ask, folder, server.address, prompts)
        asking += killed(process, work_s)
    with ExitStack() as stack:
        server.start()
        stack.callback(server.kill)
        while (left := waiting(box)) and time.monotonic() - began_s < ALL_S:
            say(f"{left} wait, {asking + flushing + servers} killed")
            pair = started(2, flush, folder, server.address)
            more = asking + flushing + servers < kills
            # So that there is work for all of the kills.
            work_s = rng.uniform(0, min(FLUSHING_S, left / 100)) if more else ALL_S
            if more and servers < of_servers and rng.random() < SERVER_SHARE:
                pair[0].join(work_s)
                server.kill()
                servers += 1
                for one in pair:
                    one.join()
                server.start()
                continue
            for one in pair:
                flushing += killed(one, work_s)
            if not more:
                time.sleep(1.0)  # what a killed process held is held for the rest of its lease
        taken = [json.loads(line) for line in (folder / "taken.jsonl").read_bytes().splitlines()]
        with closing(sqlite3.connect(box)) as file:
            written = [name for (name,) in file.execute("SELECT id FROM written")]
        with open_client(folder, server.address, START_S) as client:
            direct = [client.ask(prompt) for prompt in prompts]
    if any(answer.outcome != "deferred" for answer in direct):
        raise SystemExit("outbox: the server does not answer when it is asked directly")
    return Found(
        queries=queries,
        killed_asking=asking,
        killed_flushing=flushing,
        killed_servers=servers,
        answers_written=len(set(written)),
        written_twice=len(written) - len(set(written)),
        handed_out=len({name for name, _ in taken}),
        handed_out_again=len(taken) - len({name for name, _ in taken}),
        left=left,
        unlike_the_server=sum(
            text != direct[int(name.rpartition(" ")[2])].text for name, text in taken
        ),
        seconds=time.monotonic() - began_s,
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), options.queries, options.kills, options.seed)
    if options.json:
        print(json.dumps(asdict(found), indent=2))
    else:
        table = Table("what", "count")
        for name, value in asdict(found).items():
            table.add_row(name.replace("_", " "), f"{value:.0f}")
        result_console().print(table)
    wrong = found.written_twice + found.left + found.unlike_the_server
    if wrong or found.handed_out != found.queries or found.answers_written != found.queries:
        raise SystemExit("outbox: a query was not answered exactly once")


if __name__ == "__main__":
    main()
