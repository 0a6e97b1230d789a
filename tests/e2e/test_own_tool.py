"""Benchmarks of the device say what llama.cpp's own tool measures; a script stands in for it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from live_runs import REPO

# Says of each depth a rate of its own, with the threads in it.
TOOL = f"""#!{sys.executable}
import json, sys
asked = dict(zip(sys.argv[1::2], sys.argv[2::2]))
assert asked["-m"] == "Q4_0.gguf" and asked["-n"] == "32" and asked["-p"] == "0", asked
depths = map(int, asked["-d"].split(","))
print(json.dumps([{{"n_depth": one, "avg_ts": one + int(asked["-t"]) / 10}} for one in depths]))
"""
ASKS = """
import sys
from pathlib import Path
from benchmarks.device.kinds.report import own_tool_table
from benchmarks.device.rounds import Plan, of_own_tool
from rich.console import Console

plan = Plan(rounds=1, threads=(1,), prompts=(128, 512), new_tokens=32)
own = {"llama.cpp Q4_0": of_own_tool(Path(sys.argv[1]), Path("Q4_0.gguf"), plan)}
Console(width=100).print(own_tool_table(own, []))
"""


def test_the_kinds_table_has_the_own_tools_figures(tmp_path: Path) -> None:
    tool = tmp_path / "llama-bench"
    tool.write_text(TOOL)
    tool.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", ASKS, str(tmp_path)],
        cwd=REPO,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split("│") for line in done.stdout.splitlines() if "Q4_0" in line]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells == [
        ["llama.cpp Q4_0", "1", "128", "128.1"],
        ["llama.cpp Q4_0", "1", "512", "512.1"],
    ]
    assert "asking llama-bench itself: Q4_0.gguf" in done.stderr
