"""Turns a torch causal LM into an ExecuTorch program that scores itself; knows no artifact.

The program holds two methods over one set of weights and one cache of keys and values:

    forward(tokens (1, T), input_pos (1,)) -> logits (1, V)
    score(tokens (1, T), input_pos (1,)) -> token (1, 1), max logit (1, 1), logsumexp (1, 1)

`forward` is what ExecuTorch's language-model runner calls, with the constant methods that
tell it about the model; `score` hands out a greedy token and its log-probability,
`max logit - logsumexp`, and no V logits. T runs from 1 to `CHUNK_TOKENS`.
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import (
    EdgeCompileConfig,
    EdgeProgramManager,
    ExecutorchBackendConfig,
    ExecutorchProgramManager,
    to_edge_transform_and_lower,
)
from executorch.exir.passes import MemoryPlanningPass
from executorch.exir.passes.sym_shape_eval_pass import ConstraintBasedSymShapeEvalPass
from torch import Tensor, fx, nn
from torch.export import ExportedProgram, ModuleCallEntry, ModuleCallSignature
from torch.export.graph_signature import ExportGraphSignature, OutputKind
from torch.utils import _pytree as pytree
from transformers import PreTrainedModel

from escalade.checkpoint import (
    CheckpointError,
    check_onnx,
    check_rotary,
    first_line,
    read_generation,
)
from escalade.edge.artifact import Scheme
from escalade.edge.runtimes import CHUNK_TOKENS, FORWARD, SCORE
from escalade.export.errors import ModelError, OptionError
from escalade.export.executorch.attention import PROBE_TOKENS, BufferedModel
from escalade.export.executorch.torchao import (
    GROUP_SIZE,
    EmbeddingBits,
    plain_linears,
    quantize_8da4w,
)

PROGRAM_NAME = "model.pte"


class _Everything(nn.Module):
    """The outputs of both methods in one pass; `_only` gives each method its own."""

    def __init__(self, core: BufferedModel) -> None:
        super().__init__()
        self.core = core

    def forward(self, tokens: Tensor, input_pos: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        logits = self.core(tokens, input_pos)
        token = logits.argmax(dim=-1, keepdim=True)
        peak = logits.amax(dim=-1, keepdim=True)
        return logits, token, peak, torch.logsumexp(logits, dim=-1, keepdim=True)


_OUTPUTS = {FORWARD: (0,), SCORE: (1, 2, 3)}


def export_executorch(
    model: PreTrainedModel,
    out: Path,
    *,
    window: int,
    scheme: Scheme,
    embedding_bits: EmbeddingBits = 8,
) -> tuple[str, int | None]:
    """Write `model.pte` into `out`.

    Args:
        model: a causal LM in float32, in eval mode, on the CPU.
        out: an existing folder.
        window: longest prompt plus response, in tokens; the cache is as long.
        scheme: `none` (float32) or `8da4w`.
        embedding_bits: of the embedding, in `8da4w`.

    Returns:
        What was done to the weights, in words; the values that share a scale, or None.

    Raises:
        ModelError: the model is of a kind not supported.
        OptionError: the scheme is another one, or does not fit a layer's width.
    """
    if scheme not in {"none", "8da4w"}:
        raise OptionError(f"--quantize for --format executorch must be none or 8da4w, got {scheme}")
    if window < PROBE_TOKENS:
        raise OptionError(f"the window must be at least {PROBE_TOKENS} tokens, got {window}")
    if model.config.is_encoder_decoder:
        raise ModelError(
            f"{model.config.model_type}: an encoder-decoder: --format executorch takes"
            " decoder-only models alone"
        )
    longest = min(CHUNK_TOKENS, window - 1)
    metadata = _metadata(model, window, longest)
    model = copy.deepcopy(model)
    plain_linears(model)
    try:
        check_rotary(model.config, window)
        core = BufferedModel(model, window)
    except Exception as error:  # of a model that is called as not every one can be
        raise ModelError(f"{first_line(error)}{_elsewhere(model, window)}") from error
    detail, block_size = "float32 weights", None
    if scheme == "8da4w":
        detail, block_size = quantize_8da4w(model, embedding_bits=embedding_bits), GROUP_SIZE
    try:
        executable = _executable(core, longest, metadata)
    # torch.export and ExecuTorch raise what they like where a model does what they cannot express.
    except Exception as error:
        raise ModelError(
            f"{model.config.model_type}: ExecuTorch cannot express it:"
            f" {first_line(error)}{_elsewhere(model, window)}"
        ) from error
    with (out / PROGRAM_NAME).open("wb") as stream:
        executable.write_to_file(stream)
    return f"{detail}; XNNPACK", block_size


def _executable(
    core: BufferedModel, longest: int, metadata: dict[str, int | list[int]]
) -> ExecutorchProgramManager:
    program = _lowered(_traced(core, longest))
    methods = EdgeProgramManager(
        {name: _only(program, outputs) for name, outputs in _OUTPUTS.items()},
        metadata,
        _edge_config(),
    )
    return methods.to_executorch(
        ExecutorchBackendConfig(
            extract_delegate_segments=True,
            do_quant_fusion_and_const_prop=True,
            # One cache for both methods; inputs stay where the caller has them.
            memory_planning_pass=MemoryPlanningPass(
                alloc_graph_input=False, share_mutable_buffers=True
            ),
            sym_shape_eval_pass=ConstraintBasedSymShapeEvalPass(),
        )
    )


def _elsewhere(model: PreTrainedModel, window: int) -> str:
    """What to say where another format takes the model."""
    try:
        check_onnx(model.config, window)
    except CheckpointError:
        return ""
    return "; --format onnx takes it"


def _metadata(model: PreTrainedModel, window: int, longest: int) -> dict[str, int | list[int]]:
    """What ExecuTorch's runner asks (extension/llm/runner/constants.h), one method each."""
    config = model.config.get_text_config()
    metadata = {
        "get_max_seq_len": longest,  # of one call
        "get_max_context_len": window,
        "get_eos_ids": list(read_generation(model).end_ids),
        "get_vocab_size": config.vocab_size,
        "get_n_layers": config.num_hidden_layers,
        "use_kv_cache": True,
        "enable_dynamic_shape": True,
        "use_sdpa_with_kv_cache": True,
    }
    if config.bos_token_id is not None:
        metadata["get_bos_id"] = config.bos_token_id
    return metadata


def _traced(core: BufferedModel, longest: int) -> ExportedProgram:
    module = _Everything(core).eval().requires_grad_(False)
    inputs = (torch.zeros(1, 2, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    new_tokens = torch.export.Dim("new_tokens", min=1, max=longest)
    with torch.no_grad():
        return torch.export.export(
            module, inputs, dynamic_shapes=({1: new_tokens}, None), strict=False
        )


def _edge_config() -> EdgeCompileConfig:
    # The operators for language models are none of the core ones that the check knows.
    return EdgeCompileConfig(_check_ir_validity=False, _skip_dim_order=True)


def _lowered(program: ExportedProgram) -> ExportedProgram:
    edge = to_edge_transform_and_lower(
        program, partitioner=[XnnpackPartitioner()], compile_config=_edge_config()
    )
    lowered: ExportedProgram = edge.exported_program()
    return lowered


def _only(program: ExportedProgram, outputs: tuple[int, ...]) -> ExportedProgram:
    """The same program with some of its outputs, and what no other one needs left out.

    Lowering takes nearly all of an export's time and is done once for both methods. Both then
    name the same weights by their sha256, and the file holds each once.
    """
    signature = program.graph_signature
    user = [i for i, spec in enumerate(signature.output_specs) if _is_output(spec.kind)]
    left_out = {at for number, at in enumerate(user) if number not in outputs}
    kept = [i for i in range(len(signature.output_specs)) if i not in left_out]
    graph = copy.deepcopy(program.graph)
    returned = graph.output_node()
    values = tuple(returned.args[0][i] for i in kept)
    returned.args = (values,)
    returned.meta["val"] = tuple(value.meta["val"] for value in values)
    graph.eliminate_dead_code()
    return ExportedProgram(
        root=fx.GraphModule(program.graph_module, graph),
        graph=graph,
        graph_signature=ExportGraphSignature(
            list(signature.input_specs), [signature.output_specs[i] for i in kept]
        ),
        # Copies: each method's passes take their own constants out.
        state_dict=dict(program.state_dict),
        constants=dict(program.constants),
        range_constraints=program.range_constraints,
        module_call_graph=[
            ModuleCallEntry(
                "",
                ModuleCallSignature(
                    inputs=[],
                    outputs=[],
                    in_spec=program.call_spec.in_spec,
                    out_spec=pytree.tree_structure(outputs),
                ),
            )
        ],
        example_inputs=program.example_inputs,
        verifiers=[program.verifier],
    )


def _is_output(kind: OutputKind) -> bool:
    return kind == OutputKind.USER_OUTPUT
