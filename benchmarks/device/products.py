"""What a product takes in each width and block of weights, as onnxruntime's kernels compute it.

    python -m benchmarks.device.products

Pairs of matrices as in a Llama of 135M parameters, 576 to 1,536 and back, one behind the other and
more together than the processor's second cache holds, are multiplied with one row, as when a token
is decoded, and with 128, as when a prompt is read. "By table" asks onnxruntime for its kernels of 2
bits that look sums up, which take matrices whose outputs 128 divides: one of each pair. Numbers are
random: nothing here is quality. All kinds take turns, in rounds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
from benchmarks.device.machine import processor
from onnx import TensorProto, helper
from rich.table import Table

from escalade.cli.output import note_console, result_console

_NARROW, _WIDE = 576, 1536
_ROWS = (1, 128)
#: `accuracy_level` of MatMulNBits by which inputs are rounded to 8 bits.
_ROUNDED = 4


class Kind(NamedTuple):
    """How weights are stored, and whether kernels look sums up."""

    bits: int
    block: int
    by_table: bool = False

    @property
    def named(self) -> str:
        """For people."""
        return f"{self.bits}/{self.block}" + ", by table" * self.by_table

    @property
    def stored_bits(self) -> float:
        """Of a weight, as it lies in memory: with its block's scale, and the sum of its block."""
        return self.bits + 2 * 32 / self.block


_KINDS = (
    *(Kind(2, block) for block in (16, 32, 64)),
    *(Kind(2, block, by_table=True) for block in (32, 64)),
    *(Kind(4, block) for block in (16, 32, 64, 128)),
    *(Kind(8, block) for block in (16, 32, 64)),
)
_BASELINE = Kind(4, 32)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pairs", type=int, default=16, help="of matrices, one behind the other")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--products", type=int, default=20, help="of all pairs, in a round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    settings = [(kind, threads) for kind in _KINDS for threads in options.threads]
    sessions = {one: _session(*one, options.pairs, rng) for one in settings}
    inputs = {rows: rng.standard_normal((rows, _NARROW)).astype(np.float32) for rows in _ROWS}
    taken: dict[tuple[Kind, int, int], list[float]] = {}
    for turn in range(options.rounds):
        note_console().print(f"round {turn + 1} of {options.rounds} ...", style="dim")
        for kind, threads in settings:
            for rows in _ROWS:
                products = max(3, options.products // rows)
                taken.setdefault((kind, threads, rows), []).append(
                    _seconds(sessions[kind, threads], inputs[rows], products)
                )
    if options.json:
        found = [
            {**kind._asdict(), "threads": threads, "rows": rows, "seconds": some}
            for (kind, threads, rows), some in taken.items()
        ]
        print(json.dumps({"processor": processor(), "pairs": options.pairs, "of": found}))
        return
    table = Table("bits/block", "of 4/32, bytes", title=processor())
    columns = [(threads, rows) for threads in options.threads for rows in _ROWS]
    for threads, rows in columns:
        table.add_column(f"{rows} row{'s' * (rows > 1)}, {threads} thread{'s' * (threads > 1)}")
    for kind in _KINDS:
        cells = [_ratio(taken[kind, *column], taken[_BASELINE, *column]) for column in columns]
        table.add_row(kind.named, f"{kind.stored_bits / _BASELINE.stored_bits:.2f}", *cells)
    result_console().print(table)


def _session(
    kind: Kind, threads: int, pairs: int, rng: np.random.Generator
) -> ort.InferenceSession:
    """Of one program: every product's output is the next one's input."""
    nodes, tensors, name = [], [], "x"
    for number in range(2 * pairs):
        columns, rows = (_NARROW, _WIDE) if number % 2 == 0 else (_WIDE, _NARROW)
        blocks, block_bytes = -(-columns // kind.block), kind.block * kind.bits // 8
        weights = rng.integers(0, 256, (rows, blocks, block_bytes), np.uint8)
        # So that what comes out is neither endless nor nothing.
        scales = np.full(rows * blocks, 2.0 ** (2 - kind.bits) / columns**0.5, np.float32)
        tensors += [
            onnx.numpy_helper.from_array(weights, f"w{number}"),
            onnx.numpy_helper.from_array(scales, f"s{number}"),
        ]
        nodes.append(
            helper.make_node(
                "MatMulNBits",
                [name, f"w{number}", f"s{number}"],
                [f"y{number}"],
                domain="com.microsoft",
                K=columns,
                N=rows,
                bits=kind.bits,
                block_size=kind.block,
                accuracy_level=_ROUNDED,
            )
        )
        name = f"y{number}"
    graph = helper.make_graph(
        nodes,
        "products",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", _NARROW])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", _NARROW])],
        tensors,
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # As the device's runtime has them: those of others sleep.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    options.add_session_config_entry("mlas.use_lut_gemm", "1" if kind.by_table else "0")
    return ort.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])


def _seconds(session: ort.InferenceSession, values: np.ndarray, products: int) -> float:
    """The median of some products of all pairs, after one."""
    taken = []
    for _ in range(products + 1):
        began = time.perf_counter()
        session.run(None, {"x": values})
        taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def _ratio(taken: list[float], to: list[float]) -> str:
    """Of rounds to the baseline's same rounds: median, least to most."""
    ratios = [one / other for one, other in zip(taken, to, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


if __name__ == "__main__":
    main()
