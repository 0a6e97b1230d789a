"""Which builds of llama.cpp's CPU backend run here, and which is the fastest; knows no other peer.

`GGML_NATIVE` is not always llama.cpp's best, and where a virtual machine shows AMX and forbids it,
it dies. So the backend, a library that llama.cpp loads, is built for each set of instructions that
/proc/cpuinfo names, and by what the compiler calls native; each build is asked by llama-bench.
"""

from __future__ import annotations

import json
import os
import platform
import re
import signal
import statistics
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Above the first tokens, whose time is that of waking up; a probe of six builds takes a minute.
_NEW_TOKENS = 32
_ROUNDS = 5
#: A build that says nothing in this time is dropped; the slowest takes a few seconds.
_MOST_S = 120


@dataclass(frozen=True, kw_only=True)
class CpuBuild:
    """How llama.cpp's CPU backend is compiled."""

    name: str
    #: Options of its CMake files; without any, ggml takes SSE 4.2 to AVX2.
    options: tuple[str, ...] = ()
    #: Words of /proc/cpuinfo that must be there.
    needs: tuple[str, ...] = ()


_AVX2 = ("avx2", "fma", "f16c", "bmi2")
_AVX512 = (*_AVX2, "avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw")
_OF_AVX512 = ("GGML_AVX512=ON",)
_WITH_VNNI = (*_OF_AVX512, "GGML_AVX512_VNNI=ON")
_WITH_ALL = (*_WITH_VNNI, "GGML_AVX512_VBMI=ON", "GGML_AVX512_BF16=ON")
_OLDEST = ("SSE42", "F16C", "FMA", "BMI2", "AVX", "AVX2")
# Not GGML_NATIVE=ON, which refuses to be a library of its own; it adds this flag (ggml-cpu's
# CMakeLists.txt) and nothing else.
_NATIVE = ("CMAKE_C_FLAGS=-march=native", "CMAKE_CXX_FLAGS=-march=native")
NATIVE = CpuBuild(name="native", options=_NATIVE)
#: In the order of ggml's own list of x86 variants (ggml/src/CMakeLists.txt).
_X86_BUILDS = (
    CpuBuild(name="x86-64", options=tuple(f"GGML_{name}=OFF" for name in _OLDEST)),
    CpuBuild(name="avx2", needs=_AVX2),
    CpuBuild(name="avx2-vnni", options=("GGML_AVX_VNNI=ON",), needs=(*_AVX2, "avx_vnni")),
    CpuBuild(name="avx512", options=_OF_AVX512, needs=_AVX512),
    CpuBuild(name="avx512-vnni", options=_WITH_VNNI, needs=(*_AVX512, "avx512_vnni")),
    CpuBuild(
        name="avx512-vnni-vbmi-bf16",
        options=_WITH_ALL,
        needs=(*_AVX512, "avx512_vnni", "avx512vbmi", "avx512_bf16"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What became of a build."""

    build: CpuBuild
    #: By llama-bench, on one thread, of each round; empty where the build was dropped.
    decode: tuple[float, ...] = ()
    #: Why it was; empty where it runs.
    dropped: str = ""

    @property
    def in_words(self) -> str:
        """For people."""
        if self.dropped:
            return f"dropped: {self.dropped}"
        median = statistics.median(self.decode)
        return f"at best {max(self.decode):.1f} tokens/s, median {median:.1f} of {_ROUNDS}"


def cpu_flags(cpuinfo: str) -> set[str]:
    """The words of the first processor's `flags` (x86) or `Features` (Arm)."""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, re.MULTILINE)
    return set(found[1].split()) if found else set()


def candidates(machine: str, flags: Collection[str]) -> list[CpuBuild]:
    """What is worth building: the oldest only where nothing newer is there.

    Args:
        machine: as `platform.machine()` says it.
        flags: see `cpu_flags`.
    """
    if machine not in {"x86_64", "AMD64"}:
        return [NATIVE]
    oldest, *newer = _X86_BUILDS
    fitting = [build for build in newer if set(build.needs) <= set(flags)]
    return [*(fitting or [oldest]), NATIVE]


def candidates_here() -> list[CpuBuild]:
    """For this machine."""
    return candidates(platform.machine(), cpu_flags(Path("/proc/cpuinfo").read_text()))


def bench(
    folder: Path, model: Path, *, threads: int, new_tokens: int, depths: Sequence[int], cores: str
) -> dict[int, float]:
    """Tokens a second of decoding by llama-bench itself, behind prompts of these lengths.

    Args:
        folder: of a build; the program lies beside the backend, where it looks for it.
        model: the GGUF file.
        threads: as many as `cores`.
        new_tokens: of each response.
        depths: tokens that are held before the first new one; 0 for none.
        cores: as taskset takes them.

    Raises:
        BuildError: it died, hung, or gave no figures.
    """
    command = ["taskset", "-c", cores, str(folder / "llama-bench"), "-m", str(model)]
    command += ["-p", "0", "-n", str(new_tokens), "-d", ",".join(map(str, depths))]
    command += ["-t", str(threads), "-r", "1", "-ngl", "0", "-o", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_MOST_S)
    except subprocess.TimeoutExpired as error:
        raise BuildError(f"said nothing for {_MOST_S} s") from error
    if done.returncode != 0:
        raise BuildError(why_ended(done.returncode, done.stderr))
    try:
        return {int(row["n_depth"]): float(row["avg_ts"]) for row in json.loads(done.stdout)}
    except (ValueError, KeyError, TypeError) as error:
        raise BuildError(f"llama-bench gave no figures: {done.stdout[:80]!r}") from error


def why_ended(status: int, said: str) -> str:
    """Of a process that failed: the signal, or its last words."""
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    lines = said.strip().splitlines()
    return f"ended with {status}: {lines[-1] if lines else 'no message'}"


def probe(folders: Mapping[CpuBuild, Path], model: Path) -> list[Probed]:
    """Time each build on one core, in turn, round after round; the fastest first, dropped last.

    A build counts by its best round: whatever else runs on the machine only takes time.
    """
    core = str(min(os.sched_getaffinity(0)))
    rates: dict[CpuBuild, list[float]] = {build: [] for build in folders}
    dropped: dict[CpuBuild, str] = {}
    for _ in range(_ROUNDS):
        for build, folder in folders.items():
            if build in dropped:
                continue
            try:
                found = bench(
                    folder, model, threads=1, new_tokens=_NEW_TOKENS, depths=[0], cores=core
                )
            except BuildError as error:
                dropped[build] = str(error)
            else:
                rates[build].append(found[0])
    running = [build for build in folders if build not in dropped]
    running.sort(key=lambda build: -max(rates[build]))
    return [
        *(Probed(build=build, decode=tuple(rates[build])) for build in running),
        *(Probed(build=build, dropped=reason) for build, reason in dropped.items()),
    ]


def fastest(probed: Sequence[Probed]) -> CpuBuild:
    """The first of what `probe` gives; ends the program where no build runs."""
    if not probed or probed[0].dropped:
        reasons = "; ".join(f"{one.build.name} {one.in_words}" for one in probed)
        sys.exit(f"device: no build of llama.cpp runs here: {reasons}")
    return probed[0].build


class BuildError(Exception):
    """A build of llama.cpp that does not run here."""
