"""Who is timed: each runtime with each head, its process and its bytes; runs nothing."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from benchmarks.device import artifacts
from benchmarks.device.build import HEAD_BITS, Peers
from benchmarks.device.llama_builds import CpuBuild
from benchmarks.device.wire import Mode

from escalade.edge.artifact import read_manifest

Kind = Literal["llama.cpp", "genai", "escalade"]


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A program in a runtime."""

    kind: Kind
    #: Bits of a weight of the head; of the body it is 4.
    head_bits: int | None
    #: Without the number of threads, which comes last.
    command: tuple[str, ...]
    modes: tuple[Mode, ...]
    #: Of the file or files with graph and weights.
    program_bytes: int
    #: Of one number in the cache of keys and values.
    kv_bytes: int
    settings: dict[str, str] = field(default_factory=dict)
    #: How weights are stored, where neither bits nor head say it.
    stored: str | None = None

    @property
    def name(self) -> str:
        """Unique with the mode."""
        if self.stored is not None:
            return f"{self.kind} {self.stored}"
        formats = {"llama.cpp": "Q4_0", "genai": "int4", "escalade": "int4"}
        return f"{self.kind} {formats[self.kind]}, {self.head_bits}-bit head"


def peer_contestants(peers: Peers, llama: CpuBuild) -> list[Contestant]:
    """Every peer with an 8-bit and with a 4-bit head; of llama.cpp this build."""
    found = []
    for bits in HEAD_BITS:
        file, folder = peers.gguf(bits), peers.genai_model(bits)
        found.append(
            Contestant(
                kind="llama.cpp",
                head_bits=bits,
                command=(str(peers.llama_build(llama) / "llama_worker"), str(file)),
                modes=("scored", "plain"),
                program_bytes=file.stat().st_size,
                kv_bytes=2,  # llama.cpp's default, and its fastest
            )
        )
        found.append(of_genai(peers, folder, head_bits=bits, modes=("scored", "plain")))
    return found


def of_genai(
    peers: Peers,
    folder: Path,
    *,
    head_bits: int | None = None,
    stored: str | None = None,
    modes: tuple[Mode, ...] = ("scored",),
) -> Contestant:
    """A folder of onnxruntime-genai, by the interpreter that has it."""
    return Contestant(
        kind="genai",
        head_bits=head_bits,
        stored=stored,
        command=(str(peers.python), "-m", _module("genai_worker"), str(folder)),
        modes=modes,
        program_bytes=sum(file.stat().st_size for file in folder.glob("model.onnx*")),
        kv_bytes=4,
        settings={"ORT_DISABLE_TELEMETRY": "1"},
    )


def our_contestant(artifact: Path) -> Contestant:
    """The artifact, which scores whatever it says."""
    manifest = read_manifest(artifact)
    return Contestant(
        kind="escalade",
        head_bits=artifacts.head_bits(artifact),
        command=(sys.executable, "-m", _module("our_worker"), str(artifact)),
        modes=("scored",),
        program_bytes=artifacts.program_bytes(manifest),
        kv_bytes=manifest.model.kv_bytes,
    )


def _module(name: str) -> str:
    return f"benchmarks.device.{name}"
