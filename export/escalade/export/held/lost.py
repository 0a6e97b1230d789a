"""Measures what a program lost of its model: both read the same text; writes nothing.

The program is opened a second time. In ONNX it is asked for the logits of every position, so that
a text is read in one pass, by the kernels that read prompts on the device; llama.cpp, and a program
that says the last position's alone (onnxruntime-genai's), read token by token, as an answer.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor
from transformers import PreTrainedModel

from escalade.checkpoint import GREEDY, window_of
from escalade.edge.artifact import (
    TOKENIZER_NAME,
    LostEntry,
    Manifest,
    read_manifest,
    write_manifest,
)
from escalade.edge.runtimes import (
    ATTENTION_MASK,
    INPUT_IDS,
    LOGITS,
    LOGITS_TO_KEEP,
    PAST_PREFIX,
    open_gguf,
    open_onnx,
)
from escalade.export.memory import give_back
from escalade.export.model import load_model
from escalade.export.quantization import asked_by, write_answers, write_text
from escalade.export.quiet import quiet
from escalade.export.settings import MEASURED
from escalade.export.text import prompts_to_answer

# 1,000 tokens resolve a share to 1.5 points.
_ROWS, _TOKENS = 8, 128
# Where prompts are answered, so many tokens are read for each that is predicted, or fewer.
_READ = 5
# Another one than that of the text that weights are rounded by.
_SEED = 1
_ANSWER_TOKENS = 64
# Of what no float holds, which JSON would not either.
_MOST_NATS = math.log(sys.float_info.max)
_PLACES = 16  # compared at a time: of a large vocabulary all of a text's in float64 are large


class Text(NamedTuple):
    """What is read, and from where on it is looked at."""

    ids: list[int]
    #: Of the first token that is predicted; at least 1.
    first: int


#: Logits `(T, V)` of the tokens of a text that are looked at.
Reader = Callable[[Text], NDArray[np.float32]]


class Lost(LostEntry, frozen=True, kw_only=True):
    """What a program lost."""

    def beside(self, manifest: Manifest) -> Exported:
        """A manifest with this."""
        return Exported(**msgspec.structs.asdict(manifest), lost=self)


def keep_lost(artifact: Path, manifest: Manifest, lost: Lost) -> Manifest:
    """Write what was lost into a manifest that says what bits were spent on; returns it."""
    budget = manifest.quantization.budget
    if not budget:
        return manifest
    entry = msgspec.structs.replace(budget, lost=lost)
    stored = msgspec.structs.replace(manifest.quantization, budget=entry)
    manifest = msgspec.structs.replace(manifest, quantization=stored)
    write_manifest(artifact, manifest)
    return manifest


class Exported(Manifest, frozen=True, kw_only=True):
    """A manifest, and what was measured beside it."""

    #: None where nothing was.
    lost: Lost | None = None


def held_out_prompts(tokenizer: Tokenizer, prompts: Sequence[str], window: int) -> list[list[int]]:
    """Token ids of the prompts that a model's answers are looked at to.

    Args:
        tokenizer: the model's.
        prompts: held out; at least one.
        window: of the model, in tokens.

    Raises:
        OptionError: see `prompts_to_answer`.
    """
    most = window - min(_ANSWER_TOKENS, window // 2)
    return prompts_to_answer("--held-out", tokenizer, prompts, most)


def measure_lost(
    artifact: Path, model_dir: Path, prompts: Sequence[str] | None = None
) -> Lost | None:
    """Let the program and its model read the same texts, and compare what they say comes next.

    Args:
        artifact: an exported decoder, in ONNX or GGUF.
        model_dir: what it was exported from.
        prompts: held out; the model's greedy answers to them are what is predicted. None takes
            texts that the model draws itself, other ones than those weights are rounded by.

    Returns:
        What was lost; None where the artifact is no decoder in one of these.

    Raises:
        OptionError: see `held_out_prompts`.
    """
    manifest = read_manifest(artifact)
    if manifest.format not in MEASURED or manifest.encoder is not None or manifest.reads_once:
        return None
    give_back()  # what was computed before, with the model that computed it
    with quiet():
        model = load_model(model_dir)
        window = window_of(model.config)
        tokenizer = Tokenizer.from_file(str(artifact / TOKENIZER_NAME))
        texts = (
            _own(model, window, tokenizer, manifest.model.end_of_sequence_ids)
            if prompts is None
            else _answered(model, window, tokenizer, prompts)
        )
    give_back()  # what the text was written by, before the program lies beside the model
    source = "the model" if prompts is None else "records"
    return compare(model, program_reader(artifact, manifest), texts, source)


def compare(
    model: PreTrainedModel,
    read: Reader,
    texts: Sequence[Text],
    source: str,
) -> Lost:
    """Hold logits against the model's.

    Args:
        model: a causal LM in float32.
        read: gives the program's logits.
        texts: at least one.
        source: who wrote them.
    """
    kls, same, scores = [], [], []
    for text in texts:
        seen = slice(text.first - 1, len(text.ids) - 1)
        with torch.inference_mode():
            exact = model(torch.tensor([text.ids]), use_cache=False).logits[0, seen]
        found = torch.from_numpy(read(text))
        told = torch.tensor(text.ids[text.first :])[:, None]
        logprobs = []
        for parts in zip(*(each.split(_PLACES) for each in (exact, found, told)), strict=True):
            *logits, tokens = parts
            one, other = (each.double().log_softmax(-1) for each in logits)
            kls.append((one.exp() * (one - other)).sum(-1))
            same.append(one.argmax(-1) == other.argmax(-1))
            logprobs.append(torch.stack([each.gather(-1, tokens) for each in (one, other)]))
        scores.append([-float(each.mean()) for each in torch.cat(logprobs, 1)])
    return _summary(torch.cat(kls), torch.cat(same), torch.tensor(scores), texts, source)


def program_reader(artifact: Path, manifest: Manifest) -> Reader:
    """As the artifact's program gives them."""
    threads = torch.get_num_threads()
    if manifest.format == "gguf":
        runtime = open_gguf(artifact, manifest, threads=threads)
        # Each stands until the next is read.
        return lambda text: np.stack([logits.copy() for logits in runtime.read(*text)])
    from escalade.edge.runtimes.onnx import keeps, present_of

    session = open_onnx(artifact, manifest, threads=threads)
    entry = manifest.model
    empty = np.zeros((1, entry.kv_heads, 0, entry.head_dim), np.float32)
    pasts = {node.name: empty for node in session.get_inputs() if node.name.startswith(PAST_PREFIX)}

    def read(text: Text) -> NDArray[np.float32]:
        given = np.array([text.ids], np.int64)
        feeds = {INPUT_IDS: given, ATTENTION_MASK: np.ones_like(given), **pasts}
        kept = np.arange(text.first - 1, len(text.ids) - 1)
        (logits,) = session.run([LOGITS], {**feeds, LOGITS_TO_KEEP: kept})
        found: NDArray[np.float32] = logits[0]
        return found

    def read_on(text: Text) -> NDArray[np.float32]:
        ids, seen, before = np.array([text.ids], np.int64), pasts, 0
        found: list[NDArray[np.float32]] = []
        for end in range(text.first, len(text.ids)):
            feeds = {INPUT_IDS: ids[:, before:end], ATTENTION_MASK: np.ones_like(ids[:, :end])}
            logits, *presents = session.run([LOGITS, *map(present_of, pasts)], {**feeds, **seen})
            seen, before = dict(zip(pasts, presents, strict=True)), end
            found.append(logits[0, -1])
        return np.stack(found)

    return read if keeps(session) else read_on


def _own(
    model: PreTrainedModel, window: int, tokenizer: Tokenizer, end_ids: Sequence[int]
) -> list[Text]:
    asked = asked_by(tokenizer)
    # In float32 everywhere: what was lost is of the same text, whatever a processor is quick at.
    if asked is None:
        drawn = write_text(model, window=window, seed=_SEED, rows=_ROWS, tokens=_TOKENS)
        return [Text(ids, 1) for ids in drawn.tolist()]
    tokens = _READ * _ROWS * _TOKENS
    answers = write_answers(model, asked, end_ids, window=window, seed=_SEED, tokens=tokens)
    return [Text(ids.tolist(), first) for ids, first in answers]


def _answered(
    model: PreTrainedModel, window: int, tokenizer: Tokenizer, prompts: Sequence[str]
) -> list[Text]:
    longest = min(_ANSWER_TOKENS, window // 2)
    answer: Callable[..., Tensor] = model.generate  # type: ignore[assignment]
    texts = []
    for prompt in held_out_prompts(tokenizer, prompts, window):
        ids = torch.tensor([prompt])
        mask = torch.ones_like(ids)
        whole = answer(ids, attention_mask=mask, max_new_tokens=longest, **GREEDY)
        texts.append(Text(whole[0].tolist(), len(prompt)))
    return texts


def _summary(kl: Tensor, same: Tensor, scores: Tensor, texts: Sequence[Text], source: str) -> Lost:
    lengths = torch.tensor([len(text.ids) - text.first for text in texts]).double()
    drift = (scores[:, 1] - scores[:, 0]).double()
    nats = float((drift * lengths).sum() / lengths.sum())
    return Lost(
        source=source,
        texts=len(texts),
        tokens=len(kl),
        mean_kl=float(kl.mean()),
        p99_kl=float(kl.quantile(0.99)),
        worst_kl=float(kl.max()),
        same_argmax=float(same.double().mean()),
        perplexity_ratio=math.exp(min(nats, _MOST_NATS)),
        mean_score_drift=float(drift.mean()),
        worst_score_drift=float(drift.abs().max()),
    )
