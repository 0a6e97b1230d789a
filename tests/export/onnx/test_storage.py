"""How weights are stored: packing, and every scheme through the runtime's own kernels."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from escalade.edge.artifact import memory_needed
from escalade.edge.artifact.manifest import Scheme
from escalade.edge.generation.artifact import Artifact
from escalade.export.artifact.artifact import export_artifact
from escalade.export.blueprints.blueprint import Linear
from escalade.export.errors import OptionError
from escalade.export.held.lost import measure_lost
from escalade.export.kept import Kept
from escalade.export.onnx.graphs.layers import stack
from escalade.export.onnx.storing.rounding import round_matrix
from escalade.export.onnx.storing.storage import Storage
from escalade.export.onnx.writer import GraphWriter
from escalade.export.quantization import Choice, Hessian
from escalade.export.text import RoundingText

PROMPTS = ("g2p: cascade", "p2g: K AE T", "stress: banana")


def storage_of(scheme: Scheme, head_bits: int = 8) -> Storage:
    block_size = 32 if scheme in {"int8", "int4"} else None
    return Storage(scheme=scheme, block_size=block_size, head_bits=head_bits)


def hessian_over(inputs: torch.Tensor) -> Hessian:
    found = Hessian(inputs.shape[1])
    found.add(inputs)
    return found


def layer_of(columns: int, *, with_bias: bool) -> tuple[torch.nn.Linear, Linear]:
    """A random layer of 48 outputs, and what is exported of it."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(columns, 48, bias=with_bias).requires_grad_(False)
    return layer, Linear(layer.weight, layer.bias if with_bias else None)


@pytest.mark.parametrize("scheme", ["none", "float16", "int8", "int4", "dynamic-int8"])
@pytest.mark.parametrize("columns", [64, 80])
@pytest.mark.parametrize("with_bias", [False, True])
def test_a_stored_linear_layer_computes_what_torch_does(
    scheme: Scheme, columns: int, with_bias: bool, tmp_path: Path
) -> None:
    layer, module = layer_of(columns, with_bias=with_bias)
    path = tmp_path / "model.onnx"
    with GraphWriter(path, "linear") as graph:
        x = graph.input("x", np.float32, [1, "n", columns])
        product = storage_of(scheme).linear(graph, "w", module, x)
        graph.output("y", product, np.float32, [1, "n", 48])
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    values = torch.randn(1, 5, columns)
    (found,) = session.run(["y"], {"x": values.numpy()})
    exact = layer(values).numpy()
    off = np.abs(found - exact).max() / np.abs(exact).max()
    assert off < {"none": 1e-6, "float16": 2e-3, "int4": 0.15}.get(scheme, 0.03)


@pytest.mark.parametrize("columns", [64, 80])
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_with_32_bits_no_activation_is_rounded(
    scheme: Scheme, with_bias: bool, columns: int, tmp_path: Path
) -> None:
    layer, module = layer_of(columns, with_bias=with_bias)
    values = torch.randn(1, 5, columns)
    for bits in (8, 32):
        path = tmp_path / f"{bits}.onnx"
        storage = Storage(scheme=scheme, block_size=32, activation_bits=bits)
        assert f"{bits}-bit activations" in storage.detail
        with GraphWriter(path, "linear") as graph:
            x = graph.input("x", np.float32, [1, "n", columns])
            graph.output("y", storage.linear(graph, "w", module, x), np.float32, [1, "n", 48])
            # The weights as they are stored, read by a lookup, which rounds nothing.
            rows = graph.input("rows", np.int64, ["m"])
            stored = storage.embedding(graph, "w", layer.weight, rows, module)
            graph.output("w", stored, np.float32, ["m", columns])
        nodes = onnx.load(path, load_external_data=False).graph.node
        levels = [one.i for node in nodes for one in node.attribute if one.name == "accuracy_level"]
        assert levels == ([4] if bits == 8 else {"int8": [], "int4": [1]}[scheme])
        session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        product, weights = session.run(["y", "w"], {"x": values.numpy(), "rows": np.arange(48)})
        exact = values.numpy() @ weights.T + (layer.bias.numpy() if with_bias else 0)
        off = np.abs(product - exact).max() / np.abs(exact).max()
        assert off < {8: 0.03, 32: 1e-5}[bits]


@pytest.mark.parametrize("head_bits", [4, 8])
@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_an_embedding_and_its_head_read_the_same_bytes(
    scheme: Scheme, head_bits: int, tmp_path: Path
) -> None:
    table = torch.randn(30, 80, generator=torch.Generator().manual_seed(1))
    storage = storage_of(scheme, head_bits)
    path = tmp_path / "model.onnx"
    with GraphWriter(path, "tied") as graph:
        ids = graph.input("ids", np.int64, [1, "n"])
        x = graph.input("x", np.float32, [1, "n", 80])
        rows = storage.embedding(graph, "embedding", table, ids)
        graph.output("rows", rows, np.float32, [1, "n", 80])
        product = storage.linear(graph, "embedding", Linear(table), x)
        graph.output("logits", product, np.float32, [1, "n", 30])
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    basis = np.eye(80, dtype=np.float32)[None]
    rows, logits = session.run(None, {"ids": np.arange(30)[None], "x": basis})
    assert np.abs(rows[0] - logits[0].T).max() < 0.02
    bits = 8 if scheme == "int8" else head_bits
    assert np.abs(rows[0] - table.numpy()).max() < (0.5 if bits == 4 else 0.05)


@pytest.mark.parametrize("scheme", ["float16", "int8", "int4", "dynamic-int8"])
def test_every_scheme_makes_an_artifact_that_opens(
    scheme: Scheme, tiny_model_dir: Path, tmp_path: Path
) -> None:
    manifest = export_artifact(
        tiny_model_dir, tmp_path / "a", quantize=scheme, golden_prompts=PROMPTS
    )
    assert manifest.quantization.scheme == scheme
    assert manifest.quantization.block_size == {"int8": 64, "int4": 32}.get(scheme)
    assert manifest.parity.max_abs_delta_nll < {"float16": 0.02, "int4": 2.0}.get(scheme, 0.3)
    assert Artifact.open(tmp_path / "a").generate([5, 6, 7])


def test_weights_that_are_widened_count_as_what_loading_them_takes(
    tiny_model_dir: Path, tmp_path: Path
) -> None:
    """By SmolLM2, of which 15 bytes a weight were measured at the highest."""
    weights = []
    for bits in (8, 32):
        out = tmp_path / str(bits)
        manifest = export_artifact(
            tiny_model_dir, out, quantize="int8", activation_bits=bits, golden_prompts=PROMPTS
        )
        weights.append(memory_needed(out, manifest).weights)
    assert weights[1] - weights[0] >= 15 * manifest.model.parameters


def test_gptq_through_export_is_nearer_to_torch(tiny_model_dir: Path, tmp_path: Path) -> None:
    prompts = [f"g2p: {word}" for word in ("apple", "bear", "cedar", "delta", "ember", "fox")]
    lost = {}
    for name, given_prompts in (("nearest", ()), ("gptq", prompts * 4), ("own text", None)):
        manifest = export_artifact(
            tiny_model_dir,
            tmp_path / name,
            quantize="int4",
            rounded_by=RoundingText(given_prompts),
            golden_prompts=prompts,
        )
        measured = measure_lost(tmp_path / name, tiny_model_dir, prompts)
        assert measured is not None
        lost[name] = measured.mean_kl
        detail = manifest.quantization.detail
        assert ("rounded by GPTQ" in detail) == (name != "nearest")
        assert detail.endswith("on text that it wrote") == (name == "own text")
    assert lost["gptq"] < 0.7 * lost["nearest"]
    assert lost["own text"] < 0.7 * lost["nearest"]


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("columns", [32, 80])  # one block: an odd number of zero points
def test_zero_points_are_what_the_runtime_takes_off(
    columns: int, with_bias: bool, tmp_path: Path
) -> None:
    generator = torch.Generator().manual_seed(columns)
    table = torch.rand(30, columns, generator=generator) + 0.5  # far from even around 0
    bias = torch.randn(30, generator=generator) if with_bias else None
    module = Linear(table, bias, hessian_over(torch.eye(columns)))
    storage = storage_of("int4", head_bits=4)
    with GraphWriter(tmp_path / "model.onnx", "tied") as graph:
        ids = graph.input("ids", np.int64, [1, "n"])
        x = graph.input("x", np.float32, [1, "n", columns])
        rows = storage.embedding(graph, "embedding", table, ids, module)
        graph.output("rows", rows, np.float32, [1, "n", columns])
        product = storage.linear(graph, "embedding", module, x)
        graph.output("logits", product, np.float32, [1, "n", 30])
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    basis = np.eye(columns, dtype=np.float32)[None]
    rows, logits = session.run(None, {"ids": np.arange(30)[None], "x": basis})
    assert np.abs(rows[0] - table.numpy()).max() < 0.1
    off = 0 if bias is None else bias.numpy()
    assert np.abs(rows[0] - (logits[0] - off).T).max() < 0.02


@pytest.mark.parametrize(("largest", "kind"), [(1.0, np.float16), (1e4, np.float16), (1e7, None)])
@pytest.mark.parametrize("scheme", ["int8", "int4"])
def test_scales_are_float16_on_disk_where_that_can_be(
    scheme: Scheme, largest: float, kind: type[np.generic] | None, tmp_path: Path
) -> None:
    weight = torch.randn(16, 64, generator=torch.Generator().manual_seed(2))
    weight[3] = 0  # a pruned row needs no scale
    weight[5, 7] = largest
    with GraphWriter(tmp_path / "model.onnx", "linear") as graph:
        x = graph.input("x", np.float32, [1, "n", 64])
        product = storage_of(scheme).linear(graph, "w", Linear(weight), x)
        graph.output("y", product, np.float32, [1, "n", 16])
        assert graph.dtype("w.scales") == (kind or np.float32)
    session = ort.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"x": np.eye(64, dtype=np.float32)[None]})
    off = np.abs(found[0].T - weight.numpy())
    off[5, :32] *= 1 / largest  # what shares a scale with the outlier is lost
    assert off.max() < (0.5 if scheme == "int4" else 0.03)
    assert not found[0, :, 3].any()


def test_inputs_that_give_no_hessian_are_one_line(tmp_path: Path) -> None:
    module = Linear(torch.ones(4, 32), None, hessian_over(torch.full((1, 32), torch.inf)))
    with GraphWriter(tmp_path / "model.onnx", "linear") as graph:
        x = graph.input("x", np.float32, [1, "n", 32])
        with pytest.raises(OptionError, match="--gptq: w: .* gives no hessian"):
            storage_of("int4").linear(graph, "w", module, x)


def test_what_is_stacked_is_rounded_by_the_hessians_of_its_parts() -> None:
    draw = torch.Generator().manual_seed(0)
    parts = []
    for rows in (8, 3):
        inputs = torch.randn(99, 40, generator=draw) @ torch.randn(40, 40, generator=draw)
        weight = torch.randn(rows, 40, generator=draw)
        parts.append(Linear(weight, hessian=hessian_over(inputs)))
    choice = Choice(4, 32)
    both = round_matrix(Kept(), "", "both", stack(*parts), choice)
    alone = [round_matrix(Kept(), "", "one", part, choice) for part in parts]
    assert torch.equal(both.weights(32), torch.cat([one.weights(32) for one in alone]))
    other = round_matrix(
        Kept(), "", "one", dataclasses.replace(parts[1], hessian=parts[0].hessian), choice
    )
    assert not torch.equal(other.weights(32), alone[1].weights(32))
