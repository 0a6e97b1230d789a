"""Greedy decoding with onnxruntime-genai, timed; runs in the peers' environment.

Usage: python -m benchmarks.device.genai_worker MODEL_FOLDER THREADS
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import numpy as np
import onnxruntime_genai as og
from benchmarks.device.wire import Mode, serve
from numpy.typing import NDArray


class Decoder:
    """A loaded model."""

    def __init__(self, folder: str, threads: int) -> None:
        config = og.Config(folder)
        options = {"intra_op_num_threads": threads}
        config.overlay(json.dumps({"model": {"decoder": {"session_options": options}}}))
        self._model = og.Model(config)

    def generate(self, mode: Mode, prompt: list[int], new_tokens: int) -> Iterator[float]:
        """Log-probabilities, or zeros where `mode` is plain."""
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=len(prompt) + new_tokens, do_sample=False)
        generator = og.Generator(self._model, params)  # allocates keys and values: not timed
        return self._steps(generator, mode, prompt)

    def forced(self, ids: list[int]) -> Iterator[NDArray[np.float32]]:
        """The logits `(V,)` after each id, each read by itself."""
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=len(ids) + 1, do_sample=False)
        generator = og.Generator(self._model, params)
        for token in ids:
            generator.append_tokens(np.array([[token]], dtype=np.int32))
            yield generator.get_logits()[0, -1].astype(np.float32)

    def _steps(self, generator: og.Generator, mode: Mode, prompt: list[int]) -> Iterator[float]:
        generator.append_tokens(np.array([prompt], dtype=np.int32))
        while not generator.is_done():
            logprob = 0.0
            if mode == "scored":
                logits = generator.get_logits()[0, -1]
                # Greedy: the token chosen below is the largest of these.
                logprob = -float(np.log(np.exp(logits - logits.max()).sum()))
            generator.generate_next_token()
            generator.get_next_tokens()
            yield logprob


def main() -> None:
    """Load and serve."""
    decoder = Decoder(sys.argv[1], int(sys.argv[2]))
    serve(decoder.generate, decoder.forced)


if __name__ == "__main__":
    main()
