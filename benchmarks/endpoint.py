"""What OpenAI's HTTP adds to `ask` on one device, and whether 50 clients lose a request.

The bundled small model, int8, alone: every answer is the device's. `escalade listen` runs as a
process of its own; the same queries are asked here through `EdgeClient`, each beside the other, so
that what differs is HTTP, threads and a process. Then 50 clients ask at once, half of them streams,
and the process's resident memory is read while it answers many more.
"""

from __future__ import annotations

import argparse
import http.client
import json
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import EdgeClient, OpenOptions
from escalade.edge.base import subsample
from escalade.export.artifact.artifact import export_artifact
from escalade.training.data import load_pronunciations, make_records

CHECKPOINTS = Path(__file__).parents[1] / "training" / "checkpoints"
CLIENTS = 50
_READY = "/v1"
_STARTS_WITHIN_S = 120


class Endpoint:
    """One connection to the endpoint, kept."""

    def __init__(self, address: str, model: str) -> None:
        self._connection = http.client.HTTPConnection(address, timeout=120)
        self._model = model

    def ask(self, prompt: str) -> str:
        """A whole answer."""
        reply = json.loads(self._send(prompt).read())
        return str(reply["choices"][0]["text"])

    def first_token_s(self, prompt: str) -> float:
        """Seconds to the first piece of a stream; it is read to its end."""
        began = time.perf_counter()
        response = self._send(prompt, stream=True, escalade={"stream": "replace"})
        first = None
        ended = False
        while line := response.readline():
            if first is None and line.startswith(b"data: "):
                first = time.perf_counter() - began
            ended = ended or line == b"data: [DONE]\n"
        if first is None or not ended:
            raise RuntimeError(f"a stream without its end: {prompt!r}")
        return first

    def terminal_events(self, prompt: str, *, stream: bool) -> int:
        """How many ends an answer has: 1, or something is lost."""
        if not stream:
            return int(bool(self.ask(prompt) is not None))
        raw = self._send(prompt, stream=True).read()
        return raw.count(b"data: [DONE]")

    def _send(self, prompt: str, **fields: object) -> http.client.HTTPResponse:
        body = json.dumps({"model": self._model, "prompt": prompt, **fields})
        headers = {"content-type": "application/json"}
        self._connection.request("POST", "/v1/completions", body, headers)
        response = self._connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"HTTP {response.status}: {response.read()!r}")
        return response


@contextmanager
def listening(artifact: Path) -> Iterator[tuple[str, int]]:
    """`escalade listen`; gives its address and process id."""
    command = [sys.executable, "-m", "escalade.cli", "listen", str(artifact), "--port", "0"]
    process = subprocess.Popen([*command, "--model", "small"], stderr=subprocess.PIPE, text=True)
    try:
        if process.stderr is None:
            raise RuntimeError("its stderr was asked for")
        line = process.stderr.readline()
        url = line.split()[-1] if line.rstrip().endswith(_READY) else ""
        if not url:
            raise RuntimeError(f"the endpoint did not start: {line}{process.stderr.read()}")
        yield url.removeprefix("http://").removesuffix(_READY), process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=_STARTS_WITHIN_S)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=200, help="a round, of the validation split")
    parser.add_argument("--rounds", type=int, default=5, help="medians are of so many rounds")
    parser.add_argument("--requests", type=int, default=1000, help="of 50 clients together")
    parser.add_argument("--long", type=int, default=10_000, help="requests while memory is read")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    records = subsample(list(make_records("valid", load_pronunciations())), options.queries)
    prompts = [record.prompt for record in records]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "artifact"
        model = CHECKPOINTS / "small-cat-xent"
        export_artifact(model, folder, quantize="int8", golden_prompts=["g2p: a"])
        with listening(folder) as (address, pid):
            with EdgeClient.open(folder, OpenOptions()) as client:
                rounds = [_round(client, address, prompts) for _ in range(options.rounds)]
            crowd = _crowd(address, prompts, options.requests, CLIENTS)
            memory = _memory(address, pid, prompts, options.long)
    if options.json:
        print(json.dumps({"rounds": rounds, "crowd": crowd, "memory_mb": memory}))
        return
    _print(rounds, crowd, memory)


def _round(client: EdgeClient, address: str, prompts: Sequence[str]) -> dict[str, float]:
    """Medians of one round, in ms: each query is asked all four ways, one after the other."""
    endpoint = Endpoint(address, "small")
    asked, over_http, first, first_over_http = [], [], [], []
    for prompt in prompts:
        began = time.perf_counter()
        answer = client.ask(prompt)
        asked.append(time.perf_counter() - began)
        began = time.perf_counter()
        text = endpoint.ask(prompt)
        over_http.append(time.perf_counter() - began)
        if text != answer.text:
            raise RuntimeError(f"{prompt!r}: {text!r} over HTTP, {answer.text!r} of ask")
        began = time.perf_counter()
        run = client.stream(prompt)
        next(run)
        first.append(time.perf_counter() - began)
        run.finish()
        first_over_http.append(endpoint.first_token_s(prompt))

    def p50(seconds: Sequence[float]) -> float:
        return 1e3 * statistics.median(seconds)

    return {
        "ask_p50_ms": p50(asked),
        "http_p50_ms": p50(over_http),
        "added_p50_ms": p50(over_http) - p50(asked),
        "first_p50_ms": p50(first),
        "first_http_p50_ms": p50(first_over_http),
        "first_added_p50_ms": p50(first_over_http) - p50(first),
    }


def _crowd(address: str, prompts: Sequence[str], requests: int, clients: int) -> dict[str, float]:
    """Clients that ask at once, every second request a stream."""
    ends: list[int] = []
    seconds: list[float] = []
    lost: list[str] = []

    def one(client: int) -> None:
        endpoint = Endpoint(address, "small")
        for number in range(client, requests, clients):
            began = time.perf_counter()
            try:
                prompt = prompts[number % len(prompts)]
                ends.append(endpoint.terminal_events(prompt, stream=number % 2 == 0))
            except (OSError, RuntimeError, http.client.HTTPException) as error:
                lost.append(str(error))
            seconds.append(time.perf_counter() - began)

    began = time.perf_counter()
    threads = [threading.Thread(target=one, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if lost:
        print(lost[0], file=sys.stderr)
    return {
        "requests": requests,
        "with_one_end": sum(end == 1 for end in ends),
        "lost": len(lost) + sum(end != 1 for end in ends),
        "seconds": time.perf_counter() - began,
        "p50_ms": 1e3 * statistics.median(seconds),
        "p99_ms": 1e3 * statistics.quantiles(seconds, n=100)[-1],
    }


def _memory(address: str, pid: int, prompts: Sequence[str], requests: int) -> list[float]:
    """MB that are resident after each tenth of so many requests, of eight clients."""
    found = [_resident_mb(pid)]
    for _ in range(10):
        _crowd(address, prompts, requests // 10, 8)
        found.append(_resident_mb(pid))
    return found


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("no VmRSS: Linux is needed")


def _print(
    rounds: Sequence[dict[str, float]], crowd: dict[str, float], memory: Sequence[float]
) -> None:
    console = result_console()

    def spread(key: str) -> str:
        values = [one[key] for one in rounds]
        return f"{statistics.median(values):.2f} ms ({min(values):.2f}-{max(values):.2f})"

    console.print(f"ask                        p50 {spread('ask_p50_ms')}")
    console.print(f"the same over HTTP         p50 {spread('http_p50_ms')}")
    console.print(f"  added                        {spread('added_p50_ms')}")
    console.print(f"first token of the model   p50 {spread('first_p50_ms')}")
    console.print(f"first piece over HTTP      p50 {spread('first_http_p50_ms')}")
    console.print(f"  added                        {spread('first_added_p50_ms')}")
    console.print(
        f"{CLIENTS} clients, {crowd['requests']} requests: {crowd['with_one_end']} with one end,"
        f" {crowd['lost']} lost, {crowd['seconds']:.1f} s, p50 {crowd['p50_ms']:.0f} ms,"
        f" p99 {crowd['p99_ms']:.0f} ms"
    )
    shown = ", ".join(f"{one:.0f}" for one in memory)
    console.print(f"resident MB at the start of the long run and after each tenth: {shown}")


if __name__ == "__main__":
    main()
