"""Our runtime over llama.cpp beside llama.cpp's own loop, and beside ONNX artifacts of the model.

    .venv-gguf/bin/python -m benchmarks.device.gguf_runtime GGUF_ARTIFACT [ARTIFACT ...]

`make test-gguf` makes the environment. The loop is `llama_worker.cpp`, compiled here against the
libraries of llama-cpp-python, so that both run the same kernels on the same file. All decode behind
the same prompt, with log-probabilities, one after the other in each round; a round's ratios are to
that loop.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.device.build import HERE, WORKER_FLAGS
from benchmarks.device.machine import description
from benchmarks.device.wire import Timing
from benchmarks.device.workers import Worker
from rich.table import Table

from escalade.cli.output import note_console, result_console
from escalade.edge.artifact import Manifest, load_manifest

_NEW_TOKENS = 64
_ROUNDS = 5
_THREADS = 1, 2
_LOOP = "llama.cpp's own loop"


def main() -> None:
    """Time them and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("artifacts", type=Path, nargs="+", help="the first of format gguf")
    parser.add_argument("--prompt", type=int, default=128, help="tokens of the prompt; 128")
    args = parser.parse_args()
    manifests = [load_manifest(folder) for folder in args.artifacts]
    if manifests[0].format != "gguf":
        sys.exit(f"{args.artifacts[0]}: format must be gguf, got {manifests[0].format}")
    words = min(manifest.model.vocabulary_size for manifest in manifests)
    prompt = [7 + (place * 7919) % (words - 7) for place in range(args.prompt)]
    with tempfile.TemporaryDirectory() as folder:
        loop = _compiled(Path(folder))
        commands = {_LOOP: [str(loop), str(args.artifacts[0] / manifests[0].program)]}
        ours = [sys.executable, "-m", "benchmarks.device.our_worker"]
        for path, manifest in zip(args.artifacts, manifests, strict=True):
            commands[_named(path, manifest)] = [*ours, str(path.resolve())]
        table = Table("", "threads", "decode tokens/s", "to the loop", "prefill tokens/s", "to it")
        for threads in _THREADS:
            note_console().print(f"{threads} of {_THREADS[-1]} threads ...", style="dim")
            for row in _rows(commands, prompt, threads):
                table.add_row(*row)
    result_console().print(table)
    result_console().print(
        f"medians of {_ROUNDS} rounds of {_NEW_TOKENS} tokens behind {args.prompt}, [least-most]\n"
        f"{description()}"
    )


def _named(path: Path, manifest: Manifest) -> str:
    return f"{path.name}: {manifest.format}, {manifest.quantization.scheme}"


def _compiled(folder: Path) -> Path:
    """The loop, against what llama-cpp-python has installed."""
    packages = Path(sysconfig.get_path("purelib"))
    libraries = packages / "lib"
    if not (libraries / "libllama.so").exists():
        sys.exit(f"{libraries}: no libllama.so: run in the environment of `make test-gguf`")
    out = folder / "llama_worker"
    links = [f"-L{libraries}", "-lllama", "-lggml", "-lggml-base", f"-Wl,-rpath,{libraries}"]
    source = str(HERE / "llama_worker.cpp")
    subprocess.run(
        ["g++", *WORKER_FLAGS, f"-I{packages / 'include'}", source, *links, "-o", str(out)],
        check=True,
    )
    return out


def _rows(
    commands: dict[str, list[str]], prompt: Sequence[int], threads: int
) -> list[tuple[str, ...]]:
    timings: dict[str, list[Timing]] = {name: [] for name in commands}
    with ExitStack() as stack:
        workers = {
            name: stack.enter_context(Worker(command, threads=threads, settings={}))
            for name, command in commands.items()
        }
        for number in range(-1, _ROUNDS):  # the first one wakes them up
            # Another first token each time, so that no prefix is held.
            asked = [number + 2, *prompt[1:]]
            for name, worker in workers.items():
                timing = worker.ask("scored", asked, _NEW_TOKENS)
                if number >= 0:
                    timings[name].append(timing)
    rows = []
    for name, found in timings.items():
        pairs = list(zip(found, timings[_LOOP], strict=True))
        decode = statistics.median((_NEW_TOKENS - 1) / one.decode_s for one in found)
        prefill = statistics.median(len(prompt) / one.prefill_s for one in found)
        rows.append(
            (
                name,
                str(threads),
                f"{decode:.1f}",
                _ratio([loop.decode_s / one.decode_s for one, loop in pairs]),
                f"{prefill:.0f}",
                _ratio([loop.prefill_s / one.prefill_s for one, loop in pairs]),
            )
        )
    return rows


def _ratio(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.2f} [{min(values):.2f}-{max(values):.2f}]"


if __name__ == "__main__":
    main()
