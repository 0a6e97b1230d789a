"""Builds what is missing, measures each kind of weights, prints; see the package."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

import msgspec
from benchmarks.device import artifacts, figures, llama_builds, machine
from benchmarks.device.build import REPOSITORY, Peers
from benchmarks.device.contestants import Contestant, of_genai
from benchmarks.device.kinds.files import our_files, peer_files
from benchmarks.device.kinds.quality import lost_to, of_artifact, of_worker
from benchmarks.device.kinds.report import own_tool_table, ratios, table_of
from benchmarks.device.rounds import Plan, measure, of_own_tool
from benchmarks.pretrained_rounding import read_text
from gguf import GGUFReader
from tokenizers import Tokenizer

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge.artifact import read_manifest, write_manifest

_PIECE = 256  # tokens of the text, as a prompt that ours are rounded by


def main() -> None:
    """Build what is missing, measure, print."""
    parser = _parser()
    options = parser.parse_args()
    _refuse_namesakes(parser, [path.name for path in options.artifacts])
    quiet_third_party()
    peers = Peers(options.root)
    peers.build_llama_cpp()
    peers.build_bandwidth()
    if options.genai:
        peers.install_genai()
    described = machine.description()

    tokenizer = Tokenizer.from_file(str(options.model / "tokenizer.json"))
    read = tokenizer.encode(read_text(options.text)).ids
    ids = read[: options.tokens]
    behind = read[options.tokens :][: options.matrix_tokens]
    files = peer_files(
        peers, options.model, tokenizer.decode(behind), options.split, genai=options.genai
    )
    pieces = [behind[at : at + _PIECE] for at in range(0, len(behind), _PIECE)]
    probed = llama_builds.probe(peers.llama_builds(), files.llama["Q4_0"])
    for one in probed:
        result_console().print(f"llama.cpp build {one.build.name}: {one.in_words}")
    build = peers.llama_build(llama_builds.fastest(probed))
    worker = build / "llama_worker"
    contestants = [
        *(_of_llama(worker, kind, path) for kind, path in files.llama.items()),
        *(of_genai(peers, path, stored=kind) for kind, path in files.genai.items()),
    ]
    cores = len(os.sched_getaffinity(0))
    whole = of_worker((str(worker), str(files.whole)), ids, cores)
    lost = {one.name: lost_to(whole, of_worker(one.command, ids, cores)) for one in contestants}
    with tempfile.TemporaryDirectory(dir=peers.root) as folder:
        by_text = our_files(
            Path(folder), options.model, [tokenizer.decode(one) for one in pieces], options.bits
        )
        ours = {path.name: path for path in options.artifacts} | by_text
        for name, path in ours.items():
            endless = _endless(path, Path(folder) / f"endless-{path.name}")
            contestants.append(_of_us(endless, stored=name))
            lost[contestants[-1].name] = lost_to(whole, of_artifact(path, ids))
        plan = Plan(
            rounds=options.rounds,
            threads=tuple(options.threads),
            prompts=(options.prompt,),
            new_tokens=options.new_tokens,
        )
        measured = measure(peers, contestants, plan)
    own = {
        one.name: of_own_tool(build, path, plan)
        for one, path in zip(contestants, files.llama.values(), strict=False)
        if plan.rounds
    }
    rows = figures.rows(measured, contestants)
    parameters = read_manifest(options.artifacts[0]).model.parameters
    result_console().print(ratios(measured, contestants))
    result_console().print(table_of(rows, contestants, lost, parameters, len(ids)))
    result_console().print(own_tool_table(own, rows))
    for name, value in {**described, "llama.cpp": llama_builds.fastest(probed).name}.items():
        result_console().print(f"{name}: {value}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks.device.kinds", description=__doc__)
    parser.add_argument("model", type=Path, help="the folder of a Llama with tied embeddings")
    parser.add_argument("artifacts", type=Path, nargs="+", help="what `escalade export` made of it")
    parser.add_argument("--text", type=Path, required=True, help="see pretrained_rounding")
    parser.add_argument("--tokens", type=int, default=512, help="of the text that are read")
    parser.add_argument(
        "--matrix-tokens", type=int, default=8192, help="behind them, for llama.cpp's; 0: without"
    )
    parser.add_argument(
        "--bits", type=float, nargs="*", default=[], help="of ours that the same text rounds"
    )
    parser.add_argument(
        "--split", default="smollm", help="llama.cpp's name of how the tokenizer splits text"
    )
    parser.add_argument(
        "--genai", action="store_true", help="onnxruntime-genai too; installs it when it is missing"
    )
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--prompt", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5, help="of speed; 0: quality alone")
    parser.add_argument("--root", type=Path, default=REPOSITORY / "runs" / "peers")
    return parser


def _refuse_namesakes(parser: argparse.ArgumentParser, names: list[str]) -> None:
    """Artifacts go by their folders' names: of two of one name the first would not be measured."""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        parser.error(f"artifacts must have different names, got two of {', '.join(twice)}")


def _of_llama(worker: Path, kind: str, file: Path) -> Contestant:
    return Contestant(
        kind="llama.cpp",
        head_bits=None,
        stored=kind,
        command=(str(worker), str(file)),
        modes=("scored",),
        # Without the tokenizer, which ours has in a file of its own.
        program_bytes=sum(int(one.n_bytes) for one in GGUFReader(file).tensors),
        kv_bytes=2,
    )


def _of_us(endless: Path, *, stored: str) -> Contestant:
    manifest = read_manifest(endless)
    return Contestant(
        kind="escalade",
        head_bits=None,
        stored=stored,
        command=(sys.executable, "-m", "benchmarks.device.our_worker", str(endless)),
        modes=("scored",),
        program_bytes=artifacts.program_bytes(manifest),
        kv_bytes=manifest.model.kv_bytes,
    )


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


if __name__ == "__main__":
    main()
