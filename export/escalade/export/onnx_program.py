"""Turns a torch causal LM into an ONNX graph that scores itself; knows no artifact.

The graph comes from `transformers.exporters`: its multi-token decode serves the prompt
(with an empty past) and every later step. Here it gets its head: greedy token, maximum
and log-sum-exp are taken in the graph, so two scalars leave it instead of V logits.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnxruntime.quantization.matmul_nbits_quantizer import (
    DefaultWeightOnlyQuantConfig,
    MatMulNBitsQuantizer,
)
from transformers import PreTrainedModel
from transformers.exporters import OnnxConfig, OnnxExporter
from transformers.exporters.utils import decompose_for_generation

from escalade.edge.runtimes.onnx_runtime import (
    LOGPROB,
    NEXT_TOKEN,
    PAST_PREFIX,
    PRESENT_PREFIX,
)

PROGRAM_NAME = "model.onnx"
_BITS = 8
# Measured on the bundled model: 64 costs 6 % in scales and no exact match; see
# `benchmarks/quantization.py`. onnxruntime takes powers of two from 16 on.
_BLOCK_SIZE = 64
_INT8_MAX = 127
_TINY = 1e-12  # an all-zero row still needs a scale
_MATRIX = 2


def export_onnx(model: PreTrainedModel, out: Path, *, quantize: bool) -> str:
    """Write `model.onnx` and its data file into `out`; returns what was done to the weights.

    Args:
        model: a causal LM in float32, in eval mode, on the CPU.
        out: an existing folder.
        quantize: store the weights of matrices in 8 bits.
    """
    program = _trace(model)
    _name_cache(program.graph)
    _append_head(program.graph)
    _strip(program)
    with tempfile.TemporaryDirectory() as scratch:
        plain = Path(scratch) / PROGRAM_NAME
        ir.save(program, plain)
        proto = onnx.load(plain)
    detail = "float32 weights"
    if quantize:
        proto = _quantize(proto, model.config.get_text_config().vocab_size)
        detail = (
            f"{_BITS}-bit weights, symmetric, blocks of {_BLOCK_SIZE} along the input axis,"
            " float32 scales; embedding by row; activations float32"
        )
    onnx.save_model(
        proto,
        out / PROGRAM_NAME,
        save_as_external_data=True,
        location=f"{PROGRAM_NAME}.data",
        size_threshold=1024,
    )
    return detail


def _trace(model: PreTrainedModel) -> ir.Model:
    """The decode graph of the model: any number of new tokens on any past, batch of one."""
    sample = torch.arange(4, dtype=torch.int64)[None] + 4
    parts = decompose_for_generation(
        model,
        {"input_ids": sample, "attention_mask": torch.ones_like(sample)},
        multi_token_decode=True,
    )
    decoder, inputs = parts["decode"]
    inputs["logits_to_keep"] = 1  # only the last position goes through the head
    config = OnnxConfig(dynamic=True, ort_fusions="cpu")
    exported = OnnxExporter().export(decoder, inputs, config)  # type: ignore[arg-type]
    program: ir.Model = exported.program
    return program


def _name_cache(graph: ir.Graph) -> None:
    """Give the cache the names optimum-onnx uses: `past_key_values.0.key`, `present.0.key`."""
    for values, prefix in ((graph.inputs, PAST_PREFIX), (graph.outputs, PRESENT_PREFIX)):
        for value in values:
            name = value.name or ""
            if ".past_key_values.layers." in name:
                layer, kind = name.split(".layers.")[1].split(".")
                value.name = f"{prefix}{layer}.{kind.removesuffix('s')}"


def _append_head(graph: ir.Graph) -> None:
    """Replace the output `logits` (1, 1, V) by `next_token` (1, 1) and `logprob` (1, 1).

    log p(y) = max(logits) - logsumexp(logits), for the greedy y.
    """
    logits = next(value for value in graph.outputs if value.name == "logits")
    axes = ir.Value(
        name="vocabulary_axis", const_value=ir.tensor(np.array([-1]), name="vocabulary_axis")
    )
    graph.register_initializer(axes)
    greedy = ir.node("ArgMax", [logits], {"axis": -1, "keepdims": 0})
    highest = ir.node("ReduceMax", [logits, axes], {"keepdims": 0})
    mass = ir.node("ReduceLogSumExp", [logits, axes], {"keepdims": 0})
    logprob = ir.node("Sub", [highest.outputs[0], mass.outputs[0]])
    graph.extend([greedy, highest, mass, logprob])
    for node, name, dtype in (
        (greedy, NEXT_TOKEN, ir.DataType.INT64),
        (logprob, LOGPROB, ir.DataType.FLOAT),
    ):
        output = node.outputs[0]
        output.name, output.dtype, output.shape = name, dtype, ir.Shape([1, 1])
    kept = [value for value in graph.outputs if value is not logits]
    graph.outputs.clear()
    graph.outputs.extend([greedy.outputs[0], logprob.outputs[0], *kept])


def _strip(program: ir.Model) -> None:
    """Drop the exporter's notes on every node: for a small model they outweigh the weights."""
    program.metadata_props.clear()
    program.graph.metadata_props.clear()
    for node in program.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
            if not value.is_graph_output():
                value.shape, value.type = None, None
    for value in (*program.graph.inputs, *program.graph.initializers.values()):
        value.metadata_props.clear()


def _quantize(proto: onnx.ModelProto, vocabulary_size: int) -> onnx.ModelProto:
    config = DefaultWeightOnlyQuantConfig(
        block_size=_BLOCK_SIZE, is_symmetric=True, bits=_BITS, accuracy_level=1
    )
    quantizer = MatMulNBitsQuantizer(proto, algo_config=config)
    quantizer.process()
    quantized: onnx.ModelProto = quantizer.model.model
    return _quantize_embedding(quantized, vocabulary_size)


def _quantize_embedding(proto: onnx.ModelProto, vocabulary_size: int) -> onnx.ModelProto:
    """Store the table of the token embedding as int8 with a float32 scale for each row."""
    graph = proto.graph
    tables = {tensor.name: tensor for tensor in graph.initializer}
    lookups = [
        node
        for node in graph.node
        if node.op_type == "Gather"
        and node.input[0] in tables
        and len(tables[node.input[0]].dims) == _MATRIX
        and tables[node.input[0]].dims[0] == vocabulary_size
    ]
    for gather in lookups:
        name, indices = gather.input
        table = onnx.numpy_helper.to_array(tables[name])
        scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), _TINY) / _INT8_MAX
        rows = np.clip(np.round(table / scale), -_INT8_MAX, _INT8_MAX).astype(np.int8)
        make = onnx.helper.make_node
        position = list(graph.node).index(gather)
        replacement = [
            make("Gather", [f"{name}.int8", indices], [f"{name}.row"]),
            make("Cast", [f"{name}.row"], [f"{name}.float"], to=onnx.TensorProto.FLOAT),
            make("Gather", [f"{name}.scale", indices], [f"{name}.row_scale"]),
            make("Mul", [f"{name}.float", f"{name}.row_scale"], [gather.output[0]]),
        ]
        nodes = [*graph.node[:position], *replacement, *graph.node[position + 1 :]]
        del graph.node[:]
        graph.node.extend(nodes)
        if not any(name in node.input for node in graph.node):
            graph.initializer.remove(tables[name])
        graph.initializer.extend(
            [
                onnx.numpy_helper.from_array(rows, f"{name}.int8"),
                onnx.numpy_helper.from_array(scale.astype(np.float32), f"{name}.scale"),
            ]
        )
    return proto
