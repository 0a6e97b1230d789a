"""Makes the model and every peer under one folder, what is missing only; knows no timing.

The peers' packages go into an environment of their own: nothing of them enters ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.device import shape
from benchmarks.device.llama_builds import CpuBuild, candidates_here
from benchmarks.device.model_folder import write_model_folder

REPOSITORY = Path(__file__).parents[2]
HERE = Path(__file__).parent
_LLAMA_CPP_PYTHON = "0.3.36"
#: Its source distribution carries llama.cpp itself.
LLAMA_CPP_SOURCE = f"llama_cpp_python-{_LLAMA_CPP_PYTHON}/vendor/llama.cpp"
GENAI_PACKAGES = (
    "onnxruntime-genai==0.18.0",
    "onnxruntime==1.32.0",
    "torch==2.13.0",
    "transformers==5.23.0",
    "onnx==1.23.2",
    "onnx-ir==1.1.0",
)
#: Its CPU backend is a library that is loaded: one is built for each set of instructions.
LLAMA_CPP_OPTIONS = (
    "CMAKE_BUILD_TYPE=Release",
    "GGML_BACKEND_DL=ON",
    "GGML_NATIVE=OFF",
    "GGML_CCACHE=OFF",
    "LLAMA_OPENSSL=OFF",
    "LLAMA_BUILD_TESTS=OFF",
    "LLAMA_BUILD_EXAMPLES=OFF",
    "LLAMA_BUILD_SERVER=OFF",
    "LLAMA_BUILD_APP=OFF",
    "LLAMA_USE_PREBUILT_UI=OFF",
)
#: Of what we compile ourselves: the reading of the logits may vectorize.
WORKER_FLAGS = ("-O3", "-march=native", "-ffast-math", "-std=c++17")


#: Of the head that the peers are built with.
HEAD_BITS = (8, 4)


def genai_options(head_bits: int) -> list[str]:
    """Extra options of onnxruntime-genai's model builder."""
    return [
        f"block_size={shape.BLOCK_SIZE}",
        "accuracy_level=4",
        "algo_config=rtn",
        f"matmul_mixed_precision=last_matmul:int{head_bits}",
        "prune_lm_head=true",
    ]


class Peers:
    """Where everything lies, and how it gets there."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        self.model = self.root / "model"
        self.python = self.root / "genai" / "bin" / "python"
        self.llama_source = self.root / "src" / LLAMA_CPP_SOURCE
        self.llama_bin = self.root / "llama.cpp-loading" / "bin"
        self.llama_worker = self.root / "llama_worker"
        self.bandwidth = self.root / "bandwidth"

    def gguf(self, head_bits: int) -> Path:
        """llama.cpp's file with this head."""
        return self.root / f"q4_0-head-q{head_bits}_0.gguf"

    def llama_build(self, build: CpuBuild) -> Path:
        """The folder with a CPU backend, and with the programs that find it beside them."""
        return self.root / "llama.cpp-builds" / build.name / "bin"

    def llama_builds(self) -> dict[CpuBuild, Path]:
        """All that this machine may run, and where they lie."""
        return {build: self.llama_build(build) for build in candidates_here()}

    def genai_model(self, head_bits: int) -> Path:
        """onnxruntime-genai's folder with this head."""
        return self.root / f"genai-int4-head-int{head_bits}"

    def build(self) -> None:
        """Make what is missing; llama.cpp takes a quarter of an hour on two cores."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not (self.model / "config.json").exists():
            say("writing the model")
            write_model_folder(self.model)
        self.build_llama_cpp()
        self._build_genai()
        self._write_gguf()
        self.build_bandwidth()

    def build_bandwidth(self) -> None:
        """Compile what measures the memory's."""
        source = HERE / "bandwidth.c"
        if _older(self.bandwidth, source):
            flags = ("-O3", "-march=native", "-pthread")
            self._run("bandwidth", "gcc", *flags, source, "-o", self.bandwidth)

    def build_llama_cpp(self) -> None:
        """Make what is missing of llama.cpp alone: its programs, and a backend of each kind."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.llama_source.exists():
            say("fetching llama.cpp's source")
            sources = self.root / "src"
            fetch = (sys.executable, "-m", "pip", "download", "--no-deps")
            package = f"llama-cpp-python=={_LLAMA_CPP_PYTHON}"
            no_wheel = ("--no-binary", "llama-cpp-python")
            self._run("llama-fetch", *fetch, *no_wheel, package, "-d", sources)
            with tarfile.open(next(sources.glob("llama_cpp_python-*.tar.gz"))) as archive:
                archive.extractall(sources, filter="data")
        for program in ("llama-bench", "llama-quantize", "llama-imatrix"):
            if not (self.llama_bin / program).exists():
                say(f"building llama.cpp's {program}")
                self._cmake(self.llama_bin.parent, (), program)
        if _older(self.llama_worker, HERE / "llama_worker.cpp"):
            say("compiling the loop around llama.cpp")
            includes = [f"-I{self.llama_source / part}" for part in ("include", "ggml/include")]
            links = (f"-L{self.llama_bin}", "-lllama", "-lggml", "-lggml-base")
            found_there = f"-Wl,-rpath,{self.llama_bin}"
            command = ("g++", *WORKER_FLAGS, *includes, str(HERE / "llama_worker.cpp"))
            self._run("llama-worker", *command, *links, found_there, "-o", self.llama_worker)
        for cpu, folder in self.llama_builds().items():
            if not (folder / "libggml-cpu.so").exists():
                say(f"building llama.cpp's CPU backend: {cpu.name}")
                self._cmake(folder.parent, cpu.options, "ggml-cpu")
            for built in (self.llama_bin / "llama-bench", self.llama_worker):
                (folder / built.name).unlink(missing_ok=True)
                os.link(built, folder / built.name)

    def _cmake(self, folder: Path, options: Sequence[str], target: str) -> None:
        """Build one target of llama.cpp; options that are given last stand."""
        given = [f"-D{option}" for option in (*LLAMA_CPP_OPTIONS, *options)]
        self._run("llama-configure", "cmake", "-S", self.llama_source, "-B", folder, *given)
        build = ("cmake", "--build", folder, "-j", str(os.cpu_count() or 1), "--target", target)
        self._run("llama-build", *build)

    def install_genai(self) -> None:
        """Make its environment, where it is missing."""
        if not self.python.exists():
            say("installing onnxruntime-genai and torch into an environment of their own")
            self._run("genai-venv", sys.executable, "-m", "venv", self.python.parents[1])
            install = (self.python, "-m", "pip", "install", *GENAI_PACKAGES)
            constraints = REPOSITORY / "constraints.txt"
            self._run("genai-install", *install, "--constraint", constraints)

    def _build_genai(self) -> None:
        self.install_genai()
        for bits in HEAD_BITS:
            out = self.genai_model(bits)
            if not (out / "genai_config.json").exists():
                say(f"writing onnxruntime-genai's model, {bits}-bit head")
                self.write_genai(self.model, out, *genai_options(bits))

    def write_genai(self, model: Path, out: Path, *options: str) -> None:
        """Have onnxruntime-genai's own builder write a model's folder in 4 bits."""
        builder = (self.python, "-m", "onnxruntime_genai.models.builder", "-i", model)
        kind = ("-o", out, "-p", "int4", "-e", "cpu", "-c", self.root / "cache")
        self._run("genai-model", *builder, *kind, "--extra_options", *options)

    def _write_gguf(self) -> None:
        whole = self.root / "f32.gguf"
        if not whole.exists():
            say("writing the GGUF file")
            self.convert(self.model, whole, python=self.python)
        for bits in HEAD_BITS:
            if not self.gguf(bits).exists():
                say(f"quantizing the GGUF file, {bits}-bit head")
                # The head is the embedding. Left alone it becomes q8_0: q6_K, llama.cpp's first
                # choice, wants a width that 256 divides.
                kind = f"q{bits}_0"
                types = ("--output-tensor-type", kind, "--token-embedding-type", kind)
                self.quantize(whole, self.gguf(bits), "Q4_0", *types)

    def convert(self, folder: Path, out: Path, *split: str, python: Path) -> None:
        """Write a Llama's folder as a float32 GGUF file, by an interpreter with safetensors."""
        module = ("-m", "benchmarks.device.gguf_model")
        self._run("gguf", python, *module, folder.resolve(), out, *split)

    def quantize(self, whole: Path, out: Path, kind: str, *options: str) -> None:
        """Have llama.cpp's own program round a GGUF file."""
        self._run("quantize", self.llama_bin / "llama-quantize", *options, whole, out, kind)

    def importance(self, whole: Path, text: str, out: Path) -> None:
        """Have llama.cpp's own program say what inputs matter on a text."""
        read = out.with_suffix(".txt")
        read.write_text(text, "utf-8")
        program = self.llama_bin / "llama-imatrix"
        self._run("matrix", program, "-m", whole, "-f", read, "-o", out, "-c", "512", "-ngl", "0")

    def _run(self, log: str, *command: str | Path) -> None:
        """Run in the repository, with the output in a log that is named when it fails."""
        path = self.root / f"{log}.log"
        environment = {
            **os.environ,
            "ORT_DISABLE_TELEMETRY": "1",
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": str(self.llama_source / "gguf-py"),
        }
        with path.open("ab") as stream:
            done = subprocess.run(
                [str(part) for part in command],
                stdout=stream,
                stderr=subprocess.STDOUT,
                cwd=REPOSITORY,
                env=environment,
                check=False,
            )
        if done.returncode != 0:
            sys.exit(f"device: {command[0]} failed ({done.returncode}); see {path}")


def say(line: str) -> None:
    """Progress, on stderr."""
    print(f"device: {line}", file=sys.stderr, flush=True)


def _older(out: Path, source: Path) -> bool:
    return not out.exists() or out.stat().st_mtime < source.stat().st_mtime
