"""Where a model goes, in which numbers: what words mean, what is refused, what a GPU says."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file

from escalade.checkpoint import CheckpointError, load_network
from escalade.cloud.backends.decoding import Greedy
from escalade.cloud.backends.embedded.placement import Placement, placed, placement_of
from escalade.cloud.backends.embedded.transformers_engine import TransformersEngine
from escalade.cloud.backends.query import Query, ScoreQuery
from escalade.cloud.errors import ModelError
from escalade.v1 import cascade_pb2 as pb

HALVES = ["bfloat16", "float16"]
TESTS = Path(__file__).parents[3]
needs_gpu = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"),
]


def some_queries(count: int, seed: int = 1) -> list[Query]:
    draw = random.Random(seed)
    return [
        Query(tuple(draw.choices(range(4, 32), k=draw.randint(1, 30))), draw.randint(1, 17))
        for _ in range(count)
    ]


@pytest.mark.parametrize(
    ("gpus", "device", "dtype", "deterministic", "wanted"),
    [
        (0, "auto", "auto", False, ("cpu", torch.float32)),
        (0, "cpu", "bfloat16", False, ("cpu", torch.bfloat16)),
        (0, "cpu", "float16", True, ("cpu", torch.float16)),
        (1, "auto", "auto", False, ("cuda:0", "auto")),
        (1, "cpu", "auto", False, ("cpu", torch.float32)),
        (1, "cuda", "float16", False, ("cuda:0", torch.float16)),
        (3, "cuda:2", "auto", False, ("cuda:2", "auto")),
        (3, "auto", "float32", False, ("sequential", torch.float32)),
    ],
)
def test_what_the_words_mean(
    gpus: int,
    device: str,
    dtype: str,
    deterministic: bool,
    wanted: tuple[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert placement_of(device, dtype, deterministic=deterministic) == Placement(*wanted)


def test_deterministic_on_a_gpu_is_float32_and_takes_fixed_sums(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    try:
        assert placement_of("auto", "auto", deterministic=True) == ("cuda:0", torch.float32)
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.parametrize(
    ("gpus", "device", "dtype", "says"),
    [
        (0, "cuda:0", "auto", r"device: must be one of auto, cpu, got 'cuda:0'"),
        (2, "cuda:2", "auto", r"device: must be one of auto, cpu, cuda:0, cuda:1, got 'cuda:2'"),
        (0, "mps", "auto", r"device: must be one of auto, cpu, got 'mps'$"),
        (0, "", "auto", r"device: must be one of auto, cpu, got ''"),
        (0, "cpu", "int8", r"dtype: must be one of auto, float32, bfloat16, float16, got 'int8'"),
    ],
)
def test_what_is_not_there_is_refused(
    gpus: int, device: str, dtype: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ModelError, match=says) as error:
        placement_of(device, dtype)
    assert "\n" not in str(error.value)


def test_a_device_that_is_not_there_ends_serve_with_2_and_a_line(tiny_model: Path) -> None:
    """The whole command: no traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "escalade.cli", "serve", str(tiny_model), "--device", "cuda:99"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 2
    assert "device: must be one of auto, cpu" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("dtype", HALVES)
def test_half_the_bytes_and_the_answers_of_its_own_passes(
    dtype: str, tiny_model: Path, together: Any
) -> None:
    engine = TransformersEngine.load(str(tiny_model), threads=1, dtype=dtype)
    assert placed(engine.network) == f"on cpu, 1 thread: {dtype}, 0.0 MB of weights"
    queries = some_queries(12)
    for query in queries:  # one at a time it is transformers' own greedy answer
        alone = engine.generate(query, lambda: None)
        said = engine.network.generate(
            torch.tensor([query.prompt_ids]),
            max_new_tokens=min(query.max_new_tokens, 48 - len(query.prompt_ids)),
            do_sample=False,
            pad_token_id=0,
        )
        assert list(alone.chosen_ids) == said[0, len(query.prompt_ids) :].tolist()
    answers, said_at_start = together(engine, queries)
    assert len(said_at_start) == 1  # computed together, in a cache of half the bytes
    assert said_at_start[0].startswith("KV cache of ")
    for query, answer in zip(queries, answers, strict=True):
        given = ScoreQuery(query.prompt_ids, tuple(answer.chosen_ids))
        [scores] = engine.score([given], 1)
        assert scores.response_logprobs.dtype == np.float32
        # Each token is nearly the likeliest of the model alone: as near as rounding is.
        short = scores.top_logprobs[:, 0] - scores.response_logprobs
        assert short.max() < (0.5 if dtype == "bfloat16" else 0.1)


@pytest.mark.parametrize("dtype", HALVES)
def test_no_draft_is_read_where_near_ties_are_everywhere(dtype: str, tiny_model: Path) -> None:
    engine = TransformersEngine.load(str(tiny_model), threads=1, dtype=dtype)
    passes = 0

    def count(*_: object) -> None:
        nonlocal passes
        passes += 1

    engine.network.register_forward_hook(count)
    choices = Greedy(engine.network).choices([7, 9, 11], [5, 6, 7])
    alone = Greedy(engine.network).choices([7, 9, 11])
    for _ in range(6):
        assert next(choices) == next(alone)
    assert passes == 12


@pytest.mark.parametrize("dtype", HALVES)
def test_together_a_draft_is_read_and_each_token_is_of_its_own_pass(
    dtype: str, tiny_model: Path, together: Any
) -> None:
    engine = TransformersEngine.load(str(tiny_model), threads=1, dtype=dtype)
    queries = []
    for query in some_queries(30, seed=3):
        ids = engine.generate(replace(query, stop_texts=()), lambda: None).chosen_ids
        draft = pb.Draft(tokens=pb.TokenSequence(ids=[*ids[:5], 9]))
        queries.append(replace(query, draft=draft))
    read = 0
    answers, _ = together(engine, queries)
    for query, answer in zip(queries, answers, strict=True):
        [scores] = engine.score([ScoreQuery(query.prompt_ids, tuple(answer.chosen_ids))], 1)
        short = scores.top_logprobs[:, 0] - scores.response_logprobs
        assert short.max(initial=0.0) < (0.5 if dtype == "bfloat16" else 0.1)
        read += len(answer.margins)  # which the batch knows of no other tokens
    assert read > 60


def test_weights_that_float16_does_not_hold_are_named(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "large"))
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], 7e4)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    TransformersEngine.load(str(folder), dtype="bfloat16")
    said = r"model\.norm\.weight must be finite, holds NaN or infinity as float16, which ends at"
    with pytest.raises(ModelError, match=said):
        TransformersEngine.load(str(folder), dtype="float16")


def test_a_model_that_overflows_in_float16_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_model, tmp_path / "large"))
    weights = load_file(folder / "model.safetensors")
    for name in ("gate_proj", "up_proj"):
        weights[f"model.layers.0.mlp.{name}.weight"] *= 3e3
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    TransformersEngine.load(str(folder))
    with pytest.raises(ModelError, match="its logits must be numbers, hold NaN in float16"):
        TransformersEngine.load(str(folder), dtype="float16")


def test_a_device_map_that_leaves_layers_on_the_cpu_is_refused(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a GPU, transformers' map of several devices is the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(CheckpointError, match="does not fit into the memory of the GPUs"):
        load_network(tiny_model, dtype="auto", device="sequential")


def test_the_checkpoints_own_type(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(tiny_model, folder)
    TransformersEngine.load(str(tiny_model)).network.to(torch.bfloat16).save_pretrained(folder)
    assert json.loads((folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert load_network(folder, dtype="auto").dtype == torch.bfloat16
    assert TransformersEngine.load(str(folder)).network.dtype == torch.float32


SCRIPT = """
import sys
import torch
from cloud.backends.embedded.conftest import answers_together
from cloud.backends.embedded.test_placement import some_queries
from pretended_gpu import pretended_gpu
from escalade.cloud.backends.decoding import memory
from escalade.cloud.backends.embedded import transformers_engine
from escalade.cloud.backends.embedded.placement import Placement, placed
from escalade.cloud.backends.query import ScoreQuery

folder, encoder_decoder = sys.argv[1], sys.argv[2] == "True"
torch.set_num_threads(1)
queries = some_queries(6)
scored = [ScoreQuery(query.prompt_ids, (5, 6, 7)) for query in queries]
cpu = transformers_engine.TransformersEngine.load(folder)
wanted = [cpu.generate(query, lambda: None).chosen_ids for query in queries]
wanted_scores = cpu.score(scored, 3)
with pretended_gpu() as gpu:
    memory._free_bytes = lambda device: {gpu: 1 << 20}[device]
    transformers_engine.placement_of = lambda *_, **__: Placement(str(gpu), torch.float32)
    engine = transformers_engine.TransformersEngine.load(folder)
    print(placed(engine.network))
    assert [engine.generate(query, lambda: None).chosen_ids for query in queries] == wanted
    for got, want in zip(engine.score(scored, 3), wanted_scores, strict=True):
        assert abs(got.response_logprobs - want.response_logprobs).max() < 1e-3
        assert (got.top_ids == want.top_ids).all()
    answers, said = answers_together(engine, queries)
    assert [answer.chosen_ids for answer in answers] == wanted
    print(*said)
    assert said[0].startswith("one query" if encoder_decoder else "KV cache of ")
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["llama", "t5"])
def test_nothing_is_left_on_the_cpu(kind: str, tiny_model: Path, tiny_t5: Path) -> None:
    """Every operator refuses tensors of both; the device is registered for a whole process."""
    folder = tiny_t5 if kind == "t5" else tiny_model
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(kind == "t5")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), *sys.path])},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "on pretended:0: float32" in done.stdout


class TestOnAGpu:
    """What has to be seen on one; `make test-gpu`."""

    pytestmark = needs_gpu

    @pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
    def test_it_says_what_the_cpu_says(
        self, dtype: str, tiny_model: Path, engine: TransformersEngine, together: Any
    ) -> None:
        gpu = TransformersEngine.load(str(tiny_model), device="cuda", dtype=dtype)
        assert placed(gpu.network).startswith("on cuda:0 (")
        queries = some_queries(30)
        answers, said = together(gpu, queries)
        assert said[0].startswith("KV cache of ")
        for query, got in zip(queries, answers, strict=True):
            if dtype == "float32":
                assert got.chosen_ids == engine.generate(query, lambda: None).chosen_ids
            given = ScoreQuery(query.prompt_ids, tuple(got.chosen_ids))
            [scores] = gpu.score([given], 1)
            short = scores.top_logprobs[:, 0] - scores.response_logprobs
            assert short.max() < {"float32": 1e-3, "bfloat16": 0.5, "float16": 0.1}[dtype]

    @pytest.mark.parametrize("dtype", ["auto", "bfloat16"])
    def test_deterministic_is_bit_for_bit(self, dtype: str, tiny_model: Path) -> None:
        try:
            gpu = TransformersEngine.load(
                str(tiny_model), device="cuda", dtype=dtype, deterministic=True
            )
            assert gpu.network.dtype == (torch.float32 if dtype == "auto" else torch.bfloat16)
            for query in some_queries(10):
                first = gpu.generate(query, lambda: None)
                assert gpu.generate(query, lambda: None).logprobs == first.logprobs
        finally:
            torch.use_deterministic_algorithms(False)

    def test_an_encoder_decoder(self, tiny_t5: Path) -> None:
        cpu = TransformersEngine.load(str(tiny_t5), threads=1)
        gpu = TransformersEngine.load(str(tiny_t5), device="cuda", dtype="float32")
        for query in some_queries(10):
            wanted = cpu.generate(query, lambda: None)
            assert gpu.generate(query, lambda: None).chosen_ids == wanted.chosen_ids

    def test_auto_takes_it(self, tiny_model: Path) -> None:
        network = TransformersEngine.load(str(tiny_model), device="auto").network
        assert {str(values.device) for values in network.parameters()} == {"cuda:0"}
