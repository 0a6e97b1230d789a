"""What a worker is asked and answers, one line each; knows no peer.

A request is `MODE NEW ID ID ...`; `llama_worker.cpp` reads the same. The answer is the JSON of
a `Timing`. Before the first request a worker says that it is ready. Of peers, `forced FILE ID ...`
writes the logits after each id into a file, float32 `(N, V)`, and answers with how many.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: `scored`: each token with its log-probability. `plain`: tokens alone.
Mode = Literal["scored", "plain"]
#: Yields the log-probability of each token once it is chosen, 0.0 where it is not asked for.
Generate = Callable[[Mode, list[int], int], Iterable[float]]
#: Yields the logits `(V,)`, float32, after each id, each read by itself.
Forced = Callable[[list[int]], Iterable["NDArray[np.float32]"]]

READY = json.dumps({"ready": True})


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One response."""

    #: From the prompt to the first token chosen; the program is loaded and warm.
    prefill_s: float
    #: From there to the last token: one pass for each token but the first.
    decode_s: float
    #: CPU time of all threads; below threads x wall where others had the cores.
    prefill_cpu_s: float
    decode_cpu_s: float
    tokens: int
    #: Mean over the tokens; 0 where not scored.
    nll: float
    #: Of the process so far, in bytes.
    peak_rss: int


def serve(generate: Generate, forced: Forced | None = None) -> None:
    """Answer requests on stdin until it ends."""
    print(READY, flush=True)
    for line in sys.stdin:
        mode, new, *ids = line.split()
        if mode == "forced" and forced is not None:
            with Path(new).open("wb") as stream:
                for logits in forced([*map(int, ids)]):
                    stream.write(logits.tobytes())
            print(json.dumps({"positions": len(ids)}), flush=True)
            continue
        steps = generate("scored" if mode == "scored" else "plain", [*map(int, ids)], int(new))
        print(json.dumps(asdict(_timed(steps))), flush=True)


def _timed(steps: Iterable[float]) -> Timing:
    iterator = iter(steps)
    start, cpu_start = time.perf_counter(), time.process_time()
    logprobs = [next(iterator)]
    first, cpu_first = time.perf_counter(), time.process_time()
    logprobs.extend(iterator)
    end, cpu_end = time.perf_counter(), time.process_time()
    return Timing(
        prefill_s=first - start,
        decode_s=end - first,
        prefill_cpu_s=cpu_first - cpu_start,
        decode_cpu_s=cpu_end - cpu_first,
        tokens=len(logprobs),
        nll=-sum(logprobs) / len(logprobs),
        peak_rss=_peak_rss(),
    )


def _peak_rss() -> int:
    """Not `ru_maxrss`: a process inherits that from the one that started it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return 1024 * int(line.split()[1])
    raise RuntimeError("/proc/self/status has no VmHWM")
