"""Runs a GGUF program with llama.cpp, on the CPU; knows no text, no network.

Keys and values live inside llama.cpp, in one cache as long as the window. To go back in the text is
to remove what follows from it: a prompt that begins as the last one did is only read from where it
differs. Log-probabilities are computed here, over the logits of the same pass.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from escalade.edge.artifact import Manifest
from escalade.edge.errors import ArtifactError
from escalade.edge.runtimes.base import ReadsNoDraft, Step, reusable, steps_of
from escalade.edge.runtimes.llamacpp.library import forget_errors, last_error, llama_cpp
from escalade.edge.runtimes.program import CHUNK_TOKENS
from escalade.edge.runtimes.sampling import Sampling

# Of the numbers in the cache, by their bytes: the manifest says which. llama.cpp's own choice is
# 2. In 4 a float32 program answers as torch does, but not with llama.cpp's flash attention: NLLs of
# the bundled model are then 0.0008 off, and 0.0000003 without (`tests/export/gguf`).
_EXACT_BYTES = 4
_CACHE_TYPES = {2: llama_cpp.GGML_TYPE_F16, _EXACT_BYTES: llama_cpp.GGML_TYPE_F32}
_SEQUENCE = 0  # one response at a time


class LlamaCppRuntime(ReadsNoDraft):
    """Generation with the cache inside llama.cpp; drafts are not read."""

    def __init__(self, program: Path, manifest: Manifest, *, threads: int) -> None:
        """Load the program, its weights mapped, and allocate the cache.

        Args:
            program: the .gguf file.
            manifest: checked by the caller.
            threads: that compute; 0 leaves the choice to llama.cpp.

        Raises:
            ArtifactError: llama.cpp cannot load it, it is no decoder, or it is another model than
                the manifest says.
        """
        self._program = program
        entry = manifest.model
        self._end_ids = frozenset(entry.end_of_sequence_ids)
        with ExitStack() as freed:
            model = _load(program, manifest, freed)
            #: Tokens of a prompt that are read in one piece.
            self._chunk_tokens = min(CHUNK_TOKENS, entry.window)
            self._context = _begin(
                program, manifest, model, freed, chunk_tokens=self._chunk_tokens, threads=threads
            )
            self._memory = llama_cpp.llama_get_memory(self._context)
            self._batch = llama_cpp.llama_batch_init(self._chunk_tokens, 0, 1)
            freed.callback(llama_cpp.llama_batch_free, self._batch)
            weakref.finalize(self, freed.pop_all().close)
        batch, room = self._batch, (self._chunk_tokens,)
        self._tokens = np.ctypeslib.as_array(batch.token, room)
        self._positions = np.ctypeslib.as_array(batch.pos, room)
        self._wanted = np.ctypeslib.as_array(batch.logits, room)
        self._wanted[:] = 0
        np.ctypeslib.as_array(batch.n_seq_id, room)[:] = 1
        for place in range(*room):
            batch.seq_id[place][0] = _SEQUENCE
        self._scratch = np.empty(entry.vocabulary_size, dtype=np.float32)
        #: Tokens put through the model since it was opened: what a reused prefix saves.
        self.tokens_run = 0
        self._held: list[int] = []

    def generate(
        self,
        prompt_ids: Sequence[int],
        max_new_tokens: int,
        *,
        sampling: Sampling | None = None,
        top: int = 0,
        cancelled: Callable[[], bool] | None = None,
        draft: Sequence[int] = (),
    ) -> Iterator[Step]:
        """See `Runtime.generate`."""
        self._keep(reusable(self._held, prompt_ids))
        chunk = self._chunk_tokens

        def read(last: int | None) -> bool:
            waiting = list(prompt_ids[len(self._held) :]) if last is None else [last]
            for start in range(0, len(waiting), chunk):
                if cancelled is not None and cancelled():
                    return False
                end = start + chunk
                self._run(waiting[start:end], speaks=end >= len(waiting))
            return True

        yield from steps_of(
            read,
            self._likeliest,
            self._logits,
            end_ids=self._end_ids,
            max_new_tokens=max_new_tokens,
            sampling=sampling,
            top=top,
        )

    def read(self, ids: Sequence[int], first: int) -> Iterator[NDArray[np.float32]]:
        """Yield the logits `(V,)` of each token of a text from one on, read as an answer is.

        Args:
            ids: at most as many as the window.
            first: of those that are asked for; at least 1.
        """
        self._keep(0)
        for start in range(0, first, self._chunk_tokens):
            end = min(start + self._chunk_tokens, first)
            self._run([*ids[start:end]], speaks=end == first)
        yield self._logits()
        for token in ids[first:-1]:
            self._run([token], speaks=True)
            yield self._logits()

    def _keep(self, count: int) -> None:
        """Go back to the first so many of the tokens that are held, or to none of them."""
        if count == len(self._held):
            return
        # A model with a state in place of keys and values cannot go back in it.
        if not llama_cpp.llama_memory_seq_rm(self._memory, _SEQUENCE, count, -1):
            llama_cpp.llama_memory_clear(self._memory, True)
            count = 0
        del self._held[count:]

    def _run(self, ids: list[int], *, speaks: bool) -> None:
        """Read tokens behind those that are held; the head is asked only where it `speaks`."""
        count, before = len(ids), len(self._held)
        self._batch.n_tokens = count
        self._tokens[:count] = ids
        self._positions[:count] = range(before, before + count)
        self._wanted[count - 1] = speaks
        forget_errors()
        status = llama_cpp.llama_decode(self._context, self._batch)
        self._wanted[count - 1] = 0
        if status != 0:
            self._held.clear()
            llama_cpp.llama_memory_clear(self._memory, True)
            raise ArtifactError(
                f"{self._program}: llama.cpp cannot decode ({status}): {last_error()}"
            )
        self._held += ids
        self.tokens_run += count

    def _logits(self) -> NDArray[np.float32]:
        """`(V,)` of the next token; they stand until the next pass."""
        found = llama_cpp.llama_get_logits_ith(self._context, -1)
        if not found:
            raise ArtifactError(f"{self._program}: llama.cpp has no logits: it is no decoder")
        return np.ctypeslib.as_array(found, self._scratch.shape)

    def _likeliest(self) -> tuple[int, float]:
        logits, scratch = self._logits(), self._scratch
        token = int(logits.argmax())
        with np.errstate(invalid="ignore"):  # a broken model's are no numbers, and given as such
            np.subtract(logits, logits[token], out=scratch)
            np.exp(scratch, out=scratch)
        return token, -math.log(float(scratch.sum()))


def _load(program: Path, manifest: Manifest, freed: ExitStack) -> int:
    """Load the weights, which `freed` frees; returns llama.cpp's pointer."""
    settings = llama_cpp.llama_model_default_params()
    settings.n_gpu_layers = 0  # elsewhere, kernels and golden answers are others
    settings.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP
    forget_errors()
    model: int | None = llama_cpp.llama_model_load_from_file(os.fsencode(program), settings)
    if not model:
        raise ArtifactError(f"{program}: llama.cpp cannot load it: {last_error()}")
    freed.callback(llama_cpp.llama_model_free, model)
    _check(program, manifest, model)
    return model


def _begin(
    program: Path,
    manifest: Manifest,
    model: int,
    freed: ExitStack,
    *,
    chunk_tokens: int,
    threads: int,
) -> int:
    """Allocate the cache, likewise; returns llama.cpp's pointer."""
    entry = manifest.model
    settings = llama_cpp.llama_context_default_params()
    settings.n_ctx, settings.n_seq_max, settings.n_outputs_max = entry.window, 1, 1
    settings.n_batch = settings.n_ubatch = chunk_tokens
    settings.type_k = settings.type_v = _CACHE_TYPES[entry.kv_bytes]
    if entry.kv_bytes == _EXACT_BYTES:
        settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
    settings.swa_full = True  # what a sliding window has left behind is there to go back to
    settings.op_offload = settings.offload_kqv = False
    if threads:
        settings.n_threads = settings.n_threads_batch = threads
    forget_errors()
    context: int | None = llama_cpp.llama_init_from_model(model, settings)
    if not context:
        raise ArtifactError(f"{program}: llama.cpp cannot begin: {last_error()}")
    freed.callback(llama_cpp.llama_free, context)
    return context


def _check(program: Path, manifest: Manifest, model: int) -> None:
    """Refuse what does not generate, and what is not the manifest's model."""
    entry = manifest.model
    if llama_cpp.llama_model_has_encoder(model) or not llama_cpp.llama_model_has_decoder(model):
        raise ArtifactError(f"{program}: a decoder is wanted, it has an encoder")
    if entry.kv_bytes not in _CACHE_TYPES:
        raise ArtifactError(f"{program}: model.kv_bytes must be 2 or 4, got {entry.kv_bytes}")
    words = llama_cpp.llama_vocab_n_tokens(llama_cpp.llama_model_get_vocab(model))
    if words != entry.vocabulary_size:
        raise ArtifactError(
            f"{program}: its vocabulary_size is {words}, the manifest says {entry.vocabulary_size}"
        )
    for name, found, most in (
        ("layers", llama_cpp.llama_model_n_layer(model), entry.layers),
        ("kv_heads", llama_cpp.llama_model_n_head_kv(model), entry.kv_heads),
        # The longest that it was trained for is the most that may be said.
        ("window", entry.window, llama_cpp.llama_model_n_ctx_train(model)),
    ):
        if found > most:
            raise ArtifactError(f"{program}: {name} must be at most {most}, got {found}")
