"""How long a whole `ask` takes that is answered on the device, and how much of it is Python.

The bundled small model, int8; every query is asked through the client and, beside it, put to
onnxruntime's session alone: the difference is what tokenizing, the loop and the score cost.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from escalade.cli.output import result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge import EdgeClient
from escalade.edge.base import subsample
from escalade.export.artifact.artifact import export_artifact
from escalade.training.data import load_pronunciations, make_records

CHECKPOINTS = Path(__file__).parents[1] / "training" / "checkpoints"


class Timed:
    """A session that adds up the seconds of its runs."""

    def __init__(self, session: object) -> None:
        self._session = session
        self.seconds = 0.0

    def run_with_iobinding(self, binding: object) -> None:
        """Run and count."""
        started = time.perf_counter()
        self._session.run_with_iobinding(binding)  # type: ignore[attr-defined]
        self.seconds += time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--queries", type=int, default=500, help="of the validation split")
    parser.add_argument(
        "--repeats", type=int, default=1, help="best of so many; later ones find the prompt read"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()
    records = subsample(list(make_records("valid", load_pronunciations())), options.queries)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "artifact"
        model = CHECKPOINTS / "small-cat-xent"
        export_artifact(model, folder, quantize="int8", golden_prompts=["g2p: a"])
        with EdgeClient.open(folder) as client:
            runtime = client.cascade.tiers[0].opened[0].artifact._runtime
            timed = runtime._session = Timed(runtime._session)  # type: ignore[attr-defined]
            asked, own, tokens = [], [], 0
            for record in records:
                tries = []
                for _ in range(options.repeats):
                    timed.seconds = 0.0
                    started = time.perf_counter()
                    answer = client.ask(record.prompt)
                    took_s = time.perf_counter() - started
                    tries.append((took_s, took_s - timed.seconds))
                asked.append(min(whole for whole, _ in tries))
                own.append(min(python for _, python in tries))
                tokens += answer.said.members[0].generated_tokens
    found = {
        "queries": len(asked),
        "p50_ms": 1e3 * statistics.median(asked),
        "p95_ms": 1e3 * statistics.quantiles(asked, n=20)[-1],
        "tokens_per_answer": tokens / len(asked),
        "python_us_per_token": 1e6 * sum(own) / tokens,
        "python_p50_us": 1e6 * statistics.median(own),
    }
    if options.json:
        print(json.dumps(found))
        return
    result_console().print(
        f"{found['queries']} answers of {found['tokens_per_answer']:.1f} tokens: p50"
        f" {found['p50_ms']:.2f} ms, p95 {found['p95_ms']:.2f} ms; outside onnxruntime"
        f" {found['python_us_per_token']:.0f} us a token, {found['python_p50_us']:.0f} us an answer"
    )


if __name__ == "__main__":
    main()
