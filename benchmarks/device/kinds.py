"""llama.cpp's kinds of weights beside ours on a real model: `python -m benchmarks.device.kinds`.

Quality and speed of the same weights in one run: for each kind the KL of the next token to float32
and the share of places where both think the same token likeliest, teacher-forced on real text,
token by token as a response is decoded; and the speed of decoding with log-probabilities, all kinds
in turn, round after round. llama.cpp has its fastest build (see the package), keys and values in
float16 as it chooses itself. Its K-quants want widths that 256 divides: where a model's are others,
it takes larger kinds instead, and the bits that are printed are those of the file.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from benchmarks.device import artifacts, figures, llama_builds, machine
from benchmarks.device.build import REPOSITORY, Peers, say
from benchmarks.device.contestants import Contestant
from benchmarks.device.report import spread_of
from benchmarks.device.rounds import Measured, Plan, measure
from benchmarks.pretrained_rounding import read_text
from numpy.typing import NDArray
from rich.table import Table
from tokenizers import Tokenizer

from escalade.cli.output import result_console
from escalade.cli.quiet import quiet_third_party
from escalade.edge.artifact import read_manifest, write_manifest
from escalade.edge.generation import Artifact
from escalade.edge.runtimes.onnx_runtime import OnnxRuntime

_COMPARED = ("escalade", "llama.cpp")
KINDS = ("Q4_0", "Q4_K_M", "Q5_K_M", "Q8_0")


@dataclass(frozen=True, kw_only=True)
class Lost:
    """What a kind lost to float32."""

    mean_kl: float
    p99_kl: float
    same_argmax: float


def main() -> None:
    """Build what is missing, measure, print."""
    parser = argparse.ArgumentParser(prog="benchmarks.device.kinds", description=__doc__)
    parser.add_argument("model", type=Path, help="the folder of a Llama with tied embeddings")
    parser.add_argument("artifacts", type=Path, nargs="+", help="what `escalade export` made of it")
    parser.add_argument("--text", type=Path, required=True, help="see pretrained_rounding")
    parser.add_argument("--tokens", type=int, default=512, help="of the text that are read")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--root", type=Path, default=REPOSITORY / "runs" / "peers")
    options = parser.parse_args()
    quiet_third_party()
    peers = Peers(options.root)
    peers.build_llama_cpp()
    peers.build_bandwidth()
    described = machine.description()

    files = _quantized(peers, options.model)
    probed = llama_builds.probe(peers.llama_builds(), files["Q4_0"])
    for one in probed:
        result_console().print(f"llama.cpp build {one.build.name}: {one.in_words}")
    worker = peers.llama_build(llama_builds.fastest(probed)) / "llama_worker"
    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    ids = tokenizer.encode(read_text(options.text)).ids[: options.tokens]
    lost = _quality(worker, files, options.artifacts, ids)

    contestants = [
        Contestant(
            kind="llama.cpp",
            head_bits=None,
            stored=kind,
            command=(str(worker), str(files[kind])),
            modes=("scored",),
            program_bytes=files[kind].stat().st_size,
            kv_bytes=2,
        )
        for kind in KINDS
    ]
    with tempfile.TemporaryDirectory(dir=peers.root) as folder:
        for path in options.artifacts:
            endless = _endless(path, Path(folder) / path.name)
            contestants.append(
                Contestant(
                    kind="escalade",
                    head_bits=None,
                    stored=path.name,
                    command=(sys.executable, "-m", "benchmarks.device.our_worker", str(endless)),
                    modes=("scored",),
                    program_bytes=artifacts.program_bytes(read_manifest(endless)),
                    kv_bytes=read_manifest(endless).model.kv_bytes,
                )
            )
        plan = Plan(
            rounds=options.rounds,
            threads=tuple(options.threads),
            prompts=(options.prompt,),
            new_tokens=options.new_tokens,
        )
        measured = measure(peers, contestants, plan)
    rows = figures.rows(measured, contestants)
    parameters = read_manifest(options.artifacts[0]).model.parameters
    result_console().print(_ratios(measured, contestants))
    result_console().print(_table(rows, contestants, lost, parameters, len(ids)))
    for name, value in {**described, "llama.cpp": llama_builds.fastest(probed).name}.items():
        result_console().print(f"{name}: {value}")


def _quantized(peers: Peers, model: Path) -> dict[str, Path]:
    """The files of each kind, and of float32."""
    folder = peers.root / f"gguf-{model.resolve().name}"
    folder.mkdir(exist_ok=True)
    whole = folder / "F32.gguf"
    if not whole.exists():
        say("writing the GGUF file")
        peers.convert(model, whole, python=Path(sys.executable))
    files = {"F32": whole}
    for kind in KINDS:
        files[kind] = folder / f"{kind}.gguf"
        if not files[kind].exists():
            say(f"quantizing to {kind}")
            peers.quantize(whole, files[kind], kind)
    return files


def _quality(
    worker: Path, files: dict[str, Path], artifact_folders: list[Path], ids: list[int]
) -> dict[str, Lost]:
    """By the contestants' names."""
    with tempfile.TemporaryDirectory(dir=files["F32"].parent) as folder:
        out = Path(folder) / "logits"

        def of_llama(kind: str) -> NDArray[np.float32]:
            say(f"reading {len(ids)} tokens with llama.cpp, {kind}")
            asked = f"forced {out} {' '.join(map(str, ids))}\n"
            command = [str(worker), str(files[kind]), str(len(os.sched_getaffinity(0)))]
            subprocess.run(command, input=asked, text=True, check=True, stdout=subprocess.PIPE)
            return np.fromfile(out, dtype=np.float32).reshape(len(ids), -1)

        whole = of_llama("F32")
        lost = {f"llama.cpp {kind}": _lost(whole, of_llama(kind)) for kind in KINDS}
        for path in artifact_folders:
            say(f"reading {len(ids)} tokens with {path}")
            lost[f"escalade {path.name}"] = _lost(whole, np.stack(list(_forced(path, ids))))
    return lost


def _forced(path: Path, ids: list[int]) -> Iterator[NDArray[np.float32]]:
    """The logits `(V,)` after each id, each read by itself."""
    runtime = Artifact.open(path)._runtime
    if not isinstance(runtime, OnnxRuntime):
        sys.exit(f"device: {path}: an artifact of format onnx is wanted")
    runtime._held.clear()  # to open it was to ask it the golden prompts
    for token in ids:
        runtime._run(runtime._sampled, [token])
        yield runtime._next.of_all().copy()


def _lost(whole: NDArray[np.float32], rounded: NDArray[np.float32]) -> Lost:
    """Of logits `(N, V)`, in pieces: in float64 all at once would be a gigabyte."""
    kl = []
    for one, other in zip(whole, rounded, strict=True):
        p, q = _log_softmax(one), _log_softmax(other)
        kl.append(float(np.sum(np.exp(p) * (p - q))))
    same = np.mean(whole.argmax(axis=1) == rounded.argmax(axis=1))
    return Lost(
        mean_kl=float(np.mean(kl)), p99_kl=float(np.quantile(kl, 0.99)), same_argmax=float(same)
    )


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64) - float(logits.max())
    result: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum())
    return result


def _endless(path: Path, out: Path) -> Path:
    """A copy that no token ends but the last of the vocabulary: every response has its length."""
    out.mkdir(parents=True)
    manifest = read_manifest(path)
    for name in manifest.files:
        (out / name).write_bytes((path / name).read_bytes())
    last = manifest.model.vocabulary_size - 1
    model = msgspec.structs.replace(manifest.model, end_of_sequence_ids=[last])
    write_manifest(out, msgspec.structs.replace(manifest, model=model, golden=[]))
    return out


def _ratios(measured: Measured, contestants: list[Contestant]) -> Table:
    """Decoding, ours over theirs, round by round."""
    seconds = {(s.name, s.threads, s.round): s.timing.decode_s for s in measured.samples}
    table = Table("ours", "theirs", title="Decode speed, ours over theirs: median (low to high)")
    counts = sorted({threads for _, threads, _ in seconds})
    for threads in counts:
        table.add_column(f"{threads} thr.")
    names = {kind: [c.name for c in contestants if c.kind == kind] for kind in _COMPARED}
    for ours in names["escalade"]:
        for theirs in names["llama.cpp"]:
            cells = []
            for threads in counts:
                rounds = [r for name, t, r in seconds if (name, t) == (ours, threads)]
                quotients = [
                    seconds[theirs, threads, r] / seconds[ours, threads, r] for r in rounds
                ]
                cells.append(spread_of(figures.Spread.of(quotients), 2))
            table.add_row(ours, theirs, *cells)
    return table


def _table(
    rows: list[figures.Row],
    contestants: list[Contestant],
    lost: dict[str, Lost],
    parameters: int,
    tokens: int,
) -> Table:
    table = Table("weights", "bits", "mean KL", "p99", "same argmax", title=f"{tokens} tokens")
    settings = list(dict.fromkeys((row.threads, row.prompt) for row in rows))
    for threads, prompt in settings:
        table.add_column(f"decode tok/s, {threads} thr., prompt {prompt}")
        table.add_column(f"prefill, {threads} thr.")
    for one in contestants:
        cells = [
            spread_of(value, digits)
            for setting in settings
            for row in rows
            if (row.threads, row.prompt) == setting and row.name == one.name
            for value, digits in ((row.decode, 1), (row.prefill, 0))
        ]
        its = lost[one.name]
        table.add_row(
            one.name, f"{8 * one.program_bytes / parameters:.2f}", f"{its.mean_kl:.4f}",
            f"{its.p99_kl:.3f}", f"{its.same_argmax:.1%}", *cells,
        )  # fmt: skip
    return table


if __name__ == "__main__":
    main()
