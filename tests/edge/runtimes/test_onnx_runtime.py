"""The ONNX runtime: chunks, one buffer, reuse of a prefix, cancelling, sampling, bad graphs."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from escalade.edge.artifact.manifest import Scheme, read_manifest
from escalade.edge.artifact.memory import memory_needed
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes.base import Sampling, Step
from escalade.edge.runtimes.onnx import decoder
from escalade.edge.runtimes.onnx.decoder import OnnxRuntime
from escalade.export.artifact.artifact import export_artifact

PROMPT = [5, 9, 14, 22, 31, 7, 45, 12, 8, 60, 33, 21, 17, 50, 41, 28, 19, 6, 11, 25]


def opened(artifact: Path) -> OnnxRuntime:
    return OnnxRuntime(artifact / "model.onnx", read_manifest(artifact), threads=1)


@pytest.fixture
def runtime(float_artifact: Path) -> OnnxRuntime:
    return opened(float_artifact)


def same(ours: list[Step], theirs: list[Step]) -> None:
    assert [step.token_id for step in ours] == [step.token_id for step in theirs]
    assert [step.logprob for step in ours] == pytest.approx(
        [step.logprob for step in theirs], abs=1e-5
    )


def test_a_prompt_in_chunks_gives_the_same_answer(
    runtime: OnnxRuntime, float_artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = list(runtime.generate(PROMPT, 20))
    for size in (1, 3, 7):
        monkeypatch.setattr(decoder, "CHUNK_TOKENS", size)
        same(list(opened(float_artifact).generate(PROMPT, 20)), whole)


def test_a_long_prefix_is_run_once(runtime: OnnxRuntime, float_artifact: Path) -> None:
    first = list(runtime.generate(PROMPT, 8))
    spoken = PROMPT + [step.token_id for step in first]
    before = runtime.tokens_run
    second = list(runtime.generate([*spoken, 13, 14], 8))
    # The last token of an answer was never fed back; all before it were.
    assert runtime.tokens_run - before == 3 + len(second) - 1
    same(second, list(opened(float_artifact).generate([*spoken, 13, 14], 8)))


def test_going_back_in_the_text_is_no_copy_and_no_mistake(
    runtime: OnnxRuntime, float_artifact: Path
) -> None:
    list(runtime.generate([*PROMPT, 3, 4], 10))
    before = runtime.tokens_run
    again = list(runtime.generate([*PROMPT, 9], 10))
    assert runtime.tokens_run - before == 1 + len(again) - 1
    same(again, list(opened(float_artifact).generate([*PROMPT, 9], 10)))


def test_a_short_prefix_is_run_anew_and_scores_do_not_depend_on_history(
    runtime: OnnxRuntime,
) -> None:
    prompt = PROMPT[:10]
    alone = list(runtime.generate(prompt, 10))
    list(runtime.generate([*prompt[:9], 40], 10))
    assert list(runtime.generate(prompt, 10)) == alone


@pytest.mark.parametrize("scheme", ["float16", "int8", "int4", "dynamic-int8"])
def test_rounded_scores_do_not_depend_on_history_either(
    scheme: Scheme, tiny_model_dir: Path, tmp_path: Path
) -> None:
    export_artifact(
        tiny_model_dir, tmp_path / "a", quantize=scheme, golden_prompts=["g2p: cascade"]
    )
    runtime = opened(tmp_path / "a")
    first = list(runtime.generate(PROMPT, 10))
    same(list(runtime.generate(PROMPT, 10)), first)


def test_the_same_prompt_twice_runs_its_last_token_again(runtime: OnnxRuntime) -> None:
    first = list(runtime.generate(PROMPT, 5))
    before = runtime.tokens_run
    second = list(runtime.generate(PROMPT, 5))
    assert runtime.tokens_run - before == 1 + len(second) - 1
    same(first, second)


def test_cancelled_between_chunks_nothing_is_yielded_and_the_prefix_is_kept(
    runtime: OnnxRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "CHUNK_TOKENS", 6)
    asked = itertools.count()
    steps = list(runtime.generate(PROMPT, 5, cancelled=lambda: next(asked) == 3))
    assert steps == []
    assert runtime.tokens_run == 18
    assert list(runtime.generate(PROMPT, 2))
    assert runtime.tokens_run == 18 + 2 + 1


def test_cancelled_between_tokens_the_answer_ends_there(runtime: OnnxRuntime) -> None:
    seen: list[Step] = []
    for step in runtime.generate(PROMPT, 20, cancelled=lambda: len(seen) == 4):
        seen.append(step)
    assert len(seen) == 4


def test_sampling_follows_its_seed_and_scores_under_the_model(runtime: OnnxRuntime) -> None:
    hot = Sampling(temperature=3.0, seed=7)
    first, again = (list(runtime.generate(PROMPT, 12, sampling=hot)) for _ in range(2))
    assert [step.token_id for step in first] == [step.token_id for step in again]
    other = list(runtime.generate(PROMPT, 12, sampling=Sampling(temperature=3.0, seed=8)))
    assert [step.token_id for step in other] != [step.token_id for step in first]
    # Fed back token by token, the graph's own greedy score bounds every drawn one.
    greedy = list(runtime.generate(PROMPT, 1))
    assert first[0].logprob <= greedy[0].logprob + 1e-6


def test_one_candidate_is_the_greedy_answer(runtime: OnnxRuntime) -> None:
    same(
        list(runtime.generate(PROMPT, 15, sampling=Sampling(top_k=1))),
        list(runtime.generate(PROMPT, 15)),
    )


def test_the_buffer_is_allocated_once_and_written_in_place(runtime: OnnxRuntime) -> None:
    addresses = {name: value.data_ptr() for name, value in runtime._cache.items()}
    list(runtime.generate(PROMPT, 5))
    keys = runtime._cache["past_key_values.0.key"].numpy()
    assert np.abs(keys[0, :, : len(PROMPT)]).min() > 0
    assert not keys[0, :, len(PROMPT) + 5 :].any()
    assert addresses == {name: value.data_ptr() for name, value in runtime._cache.items()}


def test_nan_weights_are_passed_on_as_nan(float_artifact: Path, tmp_path: Path) -> None:
    import shutil

    broken = Path(shutil.copytree(float_artifact, tmp_path / "broken"))
    data = bytearray((broken / "model.onnx.data").read_bytes())
    data[:] = np.full(len(data) // 4, np.nan, np.float32).tobytes()
    (broken / "model.onnx.data").write_bytes(bytes(data))
    manifest = read_manifest(float_artifact)
    steps = list(OnnxRuntime(broken / "model.onnx", manifest, threads=1).generate(PROMPT, 3))
    assert all(np.isnan(step.logprob) for step in steps)


def test_a_graph_that_lacks_an_output_is_named(float_artifact: Path, tmp_path: Path) -> None:
    import shutil

    import onnx

    broken = Path(shutil.copytree(float_artifact, tmp_path / "broken"))
    model = onnx.load(broken / "model.onnx", load_external_data=False)
    kept = [value for value in model.graph.output if value.name != "logprob"]
    del model.graph.output[:]
    model.graph.output.extend(kept)
    onnx.save(model, broken / "model.onnx")
    with pytest.raises(ArtifactError, match="the graph lacks logprob"):
        OnnxRuntime(broken / "model.onnx", read_manifest(float_artifact), threads=1)


_GROWTH = """
import sys
from pathlib import Path
import escalade.edge.runtimes.onnx.decoder
from escalade.edge.generation import Artifact

def held():
    lines = dict(line.split(":", 1) for line in open("/proc/self/status"))
    return int(lines["VmHWM"].split()[0]) * 1024

before = held()
artifact = Artifact.open(Path(sys.argv[1]), threads=1)
artifact.generate([5, 6, 7] * 10)
artifact.stream([5, 6, 7] * 5, draft=[8] * 17).run()
print(held() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
def test_an_artifact_takes_no_more_memory_than_it_says(int8_artifact: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _GROWTH, str(int8_artifact)],
        capture_output=True,
        text=True,
        check=True,
    )
    needed = memory_needed(int8_artifact, read_manifest(int8_artifact))
    assert 0 < int(done.stdout) <= needed.total
    assert needed.cache == 2 * 2 * 2 * 16 * 48 * 4  # both, layers, heads, width, window, float32
