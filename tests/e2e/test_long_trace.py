"""`python -m benchmarks.long_trace` on a short one: every verb is run, and told of."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from live_runs import REPO
from small_traces import cloud, device, header, record, tier_answer

from escalade.edge.trace import write_trace


def run(trace: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.long_trace", str(trace), *options]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)


def test_every_verb_is_timed_on_as_many_queries_as_asked_for(tmp_path: Path) -> None:
    records = [
        record(
            f"q{k}", tier_answer(score=k / 10, correct=k < 5), tier_answer(score=None, correct=True)
        )
        for k in range(10)
    ]
    path = tmp_path / "t.jsonl"
    write_trace(path, header(device(), cloud()), records)
    done = run(path, "--queries", "60")
    assert done.returncode == 0, done.stderr
    assert "A trace of 60 queries" in done.stdout
    for verb in ("simulate", "plan", "evaluate"):
        assert verb in done.stdout
    none = run(path, "--queries", "0")
    assert (none.returncode, none.stdout) == (2, "")
    assert none.stderr.splitlines()[-1].endswith("--queries: must be at least 1, got 0")
