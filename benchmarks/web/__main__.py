"""How fast the device in a browser is, beside the same artifact in Python; knows no cloud.

    make bench-web                                                  # the bundled model
    .venv/bin/python -m benchmarks.web --artifact FOLDER --text "Once upon a time" --tokens 64

In headless Chromium, by onnxruntime-web in WebAssembly; each figure is of the same prompts, one
after the other, the browser's first and Python's then.
"""

from __future__ import annotations

import argparse
import gzip
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.web.site import PAGE, driven
from rich.table import Table

from escalade.cli.output import note_console, result_console
from escalade.edge import Artifact

_ROOT = Path(__file__).parents[2]
_SMALL = _ROOT / "training" / "checkpoints" / "small-cat-xent"
_QUERIES, _WARM = 200, 10
_THREADS = (1, 2)

# One query after the other, in the worker that a page would have; milliseconds and tokens of each.
_ASK = """async ([prompts, tokens]) => {
  const rows = [];
  for (const prompt of prompts) {
    const began = performance.now();
    const { answer } = await device.ask(prompt, tokens === null ? {} : { maxNewTokens: tokens });
    rows.push([performance.now() - began, answer.device.tokens.length]);
  }
  return rows;
}"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--artifact", type=Path, help="default: the bundled small model, exported")
    parser.add_argument("--text", action="append", help="a prompt; may be given again")
    parser.add_argument("--tokens", type=int, help="of each answer, at most")
    parser.add_argument("--rounds", type=int, default=1, help="of all prompts")
    options = parser.parse_args()
    with TemporaryDirectory() as scratch:
        folder, prompts = options.artifact, options.text
        if folder is None:
            folder, bundled = _bundled(Path(scratch))
            prompts = prompts or bundled
        elif not prompts:
            parser.error("--artifact needs --text")
        _report(folder, prompts * options.rounds, options.tokens)


def _bundled(out: Path) -> tuple[Path, list[str]]:
    """The artifact of `escalade demo --web`, and queries of the bundled tasks."""
    from escalade.cli.demo.web import prepared
    from escalade.edge.base import read_records, subsample

    folder = prepared(_SMALL, out, 0.4, note_console())
    records = read_records(out / "data" / "valid.jsonl")
    return folder, [record.prompt for record in subsample(records, _QUERIES)]


def _report(folder: Path, prompts: list[str], tokens: int | None) -> None:
    table = Table("where", "threads", "open s", "p50 ms", "p95 ms", "tokens/s")
    rates = {}
    for threads in _THREADS:
        for where, measure in (("browser", _in_browser), ("Python", _in_python)):
            opened_s, rows = measure(folder, prompts, tokens, threads)
            times = sorted(ms for ms, _ in rows)
            rates[where, threads] = sum(n for _, n in rows) / (sum(times) / 1e3)
            table.add_row(
                where,
                str(threads),
                f"{opened_s:.2f}",
                f"{statistics.median(times):.1f}",
                f"{times[int(len(times) * 0.95)]:.1f}",
                f"{rates[where, threads]:.0f}",
            )
    result_console().print(table)
    shares = ", ".join(
        f"{rates['browser', one] / rates['Python', one]:.2f} on {one}" for one in _THREADS
    )
    result_console().print(f"tokens/s of the browser by Python's, by threads: {shares}")
    packed = sum(
        len(gzip.compress(path.read_bytes()))
        for path in PAGE.rglob("*")
        if path.is_file() and path.suffix != ".gz" and "asyncify" not in path.name
    )
    result_console().print(f"the page without a model: {packed / 1e6:.2f} MB compressed (gzip)")


Rows = list[tuple[float, int]]


def _in_browser(
    folder: Path, prompts: list[str], tokens: int | None, threads: int
) -> tuple[float, Rows]:
    with driven(folder, threads) as (page, opened):
        page.evaluate(_ASK, [prompts[:_WARM], tokens])
        rows = [(ms, count) for ms, count in page.evaluate(_ASK, [prompts, tokens])]
    return opened["seconds"], rows


def _in_python(
    folder: Path, prompts: list[str], tokens: int | None, threads: int
) -> tuple[float, Rows]:
    began_s = time.perf_counter()
    artifact = Artifact.open(folder, threads=threads)
    opened_s = time.perf_counter() - began_s
    rows = []
    for prompt in (*prompts[:_WARM], *prompts):
        began_s = time.perf_counter()
        steps = artifact.generate(artifact.encode(prompt), tokens)
        artifact.text_of(steps)
        rows.append(((time.perf_counter() - began_s) * 1e3, len(steps)))
    return opened_s, rows[len(prompts[:_WARM]) :]


if __name__ == "__main__":
    main()
