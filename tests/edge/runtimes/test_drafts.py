"""A draft is read in one piece and changes nothing that is said: right, wrong, long or short."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from escalade.edge.artifact.manifest import Scheme, read_manifest
from escalade.edge.runtimes import Sampling, Step
from escalade.edge.runtimes.onnx.decoder import OnnxRuntime
from escalade.export.artifact.artifact import export_artifact

PROMPT = [5, 9, 14, 22, 31, 7, 45, 12]
NEW = 30
# A vocabulary's, and more than are read of a draft in one piece.
DRAFTS = st.lists(st.integers(0, 60), max_size=40)


class Counted(OnnxRuntime):
    """A runtime that says what it put through the program, run by run."""

    def __init__(self, folder: Path, manifest_of: Path | None = None) -> None:
        manifest = read_manifest(manifest_of or folder)
        super().__init__(folder / "model.onnx", manifest, threads=1)
        self.read: list[list[int]] = []

    def _run(self, binding: object, new: list[int]) -> None:
        self.read.append(list(new))
        super()._run(binding, new)

    def say(self, draft: Sequence[int] = (), new: int = NEW) -> list[Step]:
        """Answer, and forget what was read before."""
        self.read.clear()
        return list(self.generate(PROMPT, new, draft=draft))


@pytest.fixture(scope="module")
def runtime(float_artifact: Path) -> Counted:
    return Counted(float_artifact)


def ids_of(steps: Sequence[Step]) -> list[int]:
    return [step.token_id for step in steps]


def same(ours: Sequence[Step], theirs: Sequence[Step]) -> None:
    assert ids_of(ours) == ids_of(theirs)
    assert [one.ended for one in ours] == [one.ended for one in theirs]
    assert [one.logprob for one in ours] == pytest.approx([one.logprob for one in theirs], abs=1e-5)


def test_what_it_would_say_is_read_in_few_pieces(runtime: Counted) -> None:
    alone = runtime.say()
    assert len(alone) == NEW
    assert [len(ids) for ids in runtime.read] == [len(PROMPT)] + [1] * (NEW - 1)
    same(runtime.say(ids_of(alone)), alone)
    # The ninth is told by the first piece and read with the next ones; the last is not read.
    assert [len(ids) for ids in runtime.read] == [len(PROMPT) + 8, 1 + 16, NEW - 1 - 8 - 1 - 16]


@pytest.mark.parametrize("right", [0, 1, 5, 7, 8, 9, 20, 24, 25, 26])
def test_where_it_is_wrong_it_goes_on_as_if_there_had_been_none(
    runtime: Counted, right: int
) -> None:
    alone = runtime.say()
    draft = ids_of(alone)
    draft[right] = draft[right] % 60 + 1
    same(runtime.say(draft), alone)
    assert sum(map(len, runtime.read)) <= len(PROMPT) + NEW - 1 + 16
    assert runtime._held == [*PROMPT, *ids_of(alone)[:-1]]


@settings(max_examples=60, deadline=None)
@given(kept=st.integers(0, NEW), then=DRAFTS, new=st.integers(1, NEW))
def test_any_draft_gives_the_same_answer(
    runtime: Counted, kept: int, then: list[int], new: int
) -> None:
    alone = runtime.say(new=new)
    same(runtime.say([*ids_of(alone)[:kept], *then], new), alone)
    same(runtime.say(new=new), alone)  # and leaves nothing behind


def test_the_end_of_sequence_ends_what_a_draft_would_go_on_with(float_artifact: Path) -> None:
    runtime = Counted(float_artifact)
    alone = runtime.say()
    # What it says third shall be how it ends.
    runtime._end_ids = frozenset({alone[2].token_id})
    ending = runtime.say()
    assert ending[-1].ended
    same(runtime.say(ids_of(alone)), ending)


@pytest.mark.parametrize("scheme", ["float16", "int8", "int4", "dynamic-int8"])
def test_rounded_programs_read_drafts_too_but_where_a_chunk_has_one_scale(
    scheme: Scheme, tiny_model_dir: Path, tmp_path: Path
) -> None:
    export_artifact(
        tiny_model_dir, tmp_path / "a", quantize=scheme, golden_prompts=["g2p: cascade"]
    )
    runtime = Counted(tmp_path / "a")
    alone = runtime.say()
    same(runtime.say(ids_of(alone)), alone)
    assert len(runtime.read) == (NEW if scheme == "dynamic-int8" else 3)


def test_what_is_drawn_and_what_has_alternatives_reads_none(runtime: Counted) -> None:
    draft = ids_of(runtime.say())
    runtime.read.clear()
    drawn = list(runtime.generate(PROMPT, 9, sampling=Sampling(seed=1), draft=draft))
    assert ids_of(drawn) == ids_of(list(runtime.generate(PROMPT, 9, sampling=Sampling(seed=1))))
    listed = list(runtime.generate(PROMPT, 9, top=2, draft=draft))
    assert all(len(step.top) == 2 for step in listed)
    assert max(map(len, runtime.read)) == len(PROMPT)


def test_cancelled_between_two_tokens_of_a_draft_it_ends_there(runtime: Counted) -> None:
    draft = ids_of(runtime.say())
    seen: list[Step] = []
    for step in runtime.generate(PROMPT, NEW, draft=draft, cancelled=lambda: len(seen) == 4):
        seen.append(step)
    assert ids_of(seen) == draft[:4]


def test_a_program_of_before_knows_the_last_position_alone_and_reads_none(
    float_artifact: Path, tmp_path: Path
) -> None:
    import shutil

    older = Path(shutil.copytree(float_artifact, tmp_path / "older"))
    model = onnx.load(older / "model.onnx", load_external_data=False)
    kept = [one for one in model.graph.input if one.name != "logits_to_keep"]
    assert len(kept) == len(model.graph.input) - 1
    del model.graph.input[:]
    model.graph.input.extend(kept)
    onnx.save(model, older / "model.onnx")
    runtime = Counted(older, manifest_of=float_artifact)
    alone = runtime.say()
    assert runtime.say(ids_of(alone)) == alone
    assert len(runtime.read) == NEW


def test_the_graph_says_the_next_token_of_every_position_that_is_asked(
    float_artifact: Path,
) -> None:
    import onnxruntime as ort

    session = ort.InferenceSession(
        float_artifact / "model.onnx", providers=["CPUExecutionProvider"]
    )
    empty = {
        node.name: np.zeros((1, node.shape[1], 0, node.shape[3]), np.float32)
        for node in session.get_inputs()
        if node.name.startswith("past_key_values.")
    }

    def said(ids: list[int], **options: object) -> list[list[float]]:
        feed = {
            "input_ids": np.array([ids]),
            "attention_mask": np.ones((1, len(ids)), np.int64),
            **empty,
            **options,
        }
        return [one[0].tolist() for one in session.run(["next_token", "logprob"], feed)]

    tokens, logprobs = said(PROMPT, logits_to_keep=np.arange(len(PROMPT)))
    for count in range(1, len(PROMPT) + 1):
        [[token], [logprob]] = said(PROMPT[:count])
        assert token == tokens[count - 1]
        assert logprob == pytest.approx(logprobs[count - 1], abs=1e-5)
