"""How long exporting a Llama of 135M parameters takes, and how much memory.

`escalade export` in a process of its own, for each scheme: wall time with loading and
parity, peak resident memory over the model's float32 bytes. `--exporters LAYERS...` also
lets transformers.exporters write such a model cut to so many layers, and says where its
time goes; the whole model takes minutes, and it needs `pip install onnxscript`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.device.machine import processor
from benchmarks.device.model_folder import write_model_folder
from rich.table import Table

from escalade.cli.output import note_console, result_console

SCHEMES = ("none", "float16", "int8", "int4", "dynamic-int8")

# Cumulative seconds of the phases, by the functions that do them.
_TRACE = """
import cProfile, io, json, pstats, sys, time
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.exporters import OnnxConfig, OnnxExporter
from transformers.exporters.utils import decompose_for_generation

config = LlamaConfig(
    hidden_size=576, num_hidden_layers=int(sys.argv[1]), num_attention_heads=9,
    num_key_value_heads=3, intermediate_size=1536, vocab_size=49152,
    tie_word_embeddings=True, max_position_embeddings=2048,
)
torch.manual_seed(0)
model = LlamaForCausalLM(config).eval()
sample = torch.arange(4)[None] + 4
inputs = {"input_ids": sample, "attention_mask": torch.ones_like(sample)}
decoder, fed = decompose_for_generation(model, inputs, multi_token_decode=True)["decode"]
profile = cProfile.Profile()
started = time.perf_counter()
profile.enable()
OnnxExporter().export(decoder, fed, OnnxConfig(dynamic=True, ort_fusions="cpu"))
profile.disable()
seconds = time.perf_counter() - started
phases = {
    "torch.export": ("torch/export/__init__.py", "export"),
    "decompositions": ("torch/export/exported_program.py", "run_decompositions"),
    "torch.onnx.export": ("torch/onnx/__init__.py", "export"),
}
stats = pstats.Stats(profile).stats
spent = {
    phase: sum(row[3] for key, row in stats.items() if key[0].endswith(path) and key[2] == name)
    for phase, (path, name) in phases.items()
}
print(json.dumps({"layers": int(sys.argv[1]), "seconds": seconds} | spent))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--exporters", type=int, nargs="*", default=[], metavar="LAYERS")
    parser.add_argument("--schemes", nargs="*", default=SCHEMES, choices=SCHEMES)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        write_model_folder(model)
        weights = (model / "model.safetensors").stat().st_size
        exports = [export(model, Path(scratch) / "out", scheme) for scheme in options.schemes]
    traces = [trace(layers) for layers in options.exporters]
    if options.json:
        print(json.dumps({"float32_bytes": weights, "exports": exports, "exporters": traces}))
        return
    table = Table("scheme", "seconds", "peak MiB", "x float32 bytes", title=processor())
    for found in exports:
        times = found["peak_bytes"] / weights
        peak = f"{found['peak_bytes'] / 2**20:.0f}"
        table.add_row(found["scheme"], f"{found['seconds']:.0f}", peak, f"{times:.2f}")
    result_console().print(table)
    for found in traces:
        print("transformers.exporters:", json.dumps(found))


def export(model: Path, out: Path, scheme: str) -> dict[str, float | str]:
    """One export in a process of its own."""
    note_console().print(f"exporting, {scheme} ...", style="dim")
    command = ["-m", "escalade.cli", "export", str(model), str(out), "--quantize", scheme]
    command += ["--gptq", "none", "--held-out", "none"]  # random weights write no text
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(process.returncode)
    seconds = time.perf_counter() - started
    return {"scheme": scheme, "seconds": seconds, "peak_bytes": usage.ru_maxrss * 1024}


def trace(layers: int) -> dict[str, float]:
    """One export by transformers.exporters, profiled."""
    note_console().print(f"transformers.exporters, {layers} layers ...", style="dim")
    done = subprocess.run(
        [sys.executable, "-c", _TRACE, str(layers)], capture_output=True, text=True, check=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    main()
