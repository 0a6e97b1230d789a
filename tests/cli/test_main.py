"""The command line as a user meets it: help, results, and one line for every mistake."""

from __future__ import annotations

import json
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import pytest

Invoke = Callable[..., tuple[int, str, str]]


@pytest.fixture
def artifact(int8_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(int8_artifact, tmp_path / "artifact"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.jsonl"
    words = ("cat", "dog", "banana", "zebra")
    path.write_text(
        "".join(
            json.dumps({"id": w, "task": "g2p", "prompt": f"g2p: {w}", "references": ["x"]}) + "\n"
            for w in words
        )
    )
    return path


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_help_names_every_verb_and_loads_no_part() -> None:
    code = (
        "import sys, contextlib, io\n"
        "sys.argv = ['escalade', '--help']\n"
        "from escalade.cli.main import run\n"
        "out = io.StringIO()\n"
        "with contextlib.redirect_stdout(out), contextlib.suppress(SystemExit):\n"
        "    run()\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'grpc', 'numpy', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "print([v for v in ('demo ask record calibrate export train tasks trace router serve proxy"
        " load simulate evaluate store inspect')"
        ".split() if v not in out.getvalue()])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]", "[]"]


def test_the_version_and_pythons_in_one_line(invoke: Invoke) -> None:
    code, out, err = invoke("--version")
    assert (code, err) == (0, "")
    assert out == f"escalade {version('escalade')}, Python {platform.python_version()}\n"


def test_ask_answers_on_stdout_and_explains_on_stderr(invoke: Invoke, artifact: Path) -> None:
    code, out, err = invoke("ask", artifact, "g2p: cascade")
    assert code == 0
    assert len(out.splitlines()) == 1
    assert "answered by the device" in err
    assert "not calibrated" in err


def test_ask_says_what_it_would_have_deferred(invoke: Invoke, artifact: Path) -> None:
    code, _, err = invoke("ask", artifact, "g2p: cascade", "--threshold", "-1")
    assert code == 0
    assert "with a tier above it would have been deferred" in err


def test_ask_json(invoke: Invoke, artifact: Path) -> None:
    code, out, err = invoke("ask", artifact, "g2p: cascade", "--json", "--threshold", "100")
    answer = json.loads(out)
    assert (code, err) == (0, "")
    assert (answer["answered_by"], answer["place"]) == ("device", "device")
    assert answer["would_defer"] is False
    (tier,) = answer["tiers"]
    (member,) = tier["said"]["members"]
    assert len(member["logprobs"]) == member["generated_tokens"]


def test_calibrate_then_the_threshold_is_there(
    invoke: Invoke, artifact: Path, data: Path, tmp_path: Path
) -> None:
    code, out, _ = invoke(
        "calibrate", artifact, "--data", data, "--target-deferral-rate", 0.5, "--json"
    )
    deferral = json.loads(out)
    assert code == 0
    assert deferral["calibration"]["fit"]["deferral_rate"] == 0.5
    code, out, _ = invoke("ask", artifact, "g2p: cat", "--json", "--trace", tmp_path / "t.jsonl")
    assert json.loads(out)["threshold"] == deferral["threshold"]
    assert len((tmp_path / "t.jsonl").read_text().splitlines()) == 2


def test_a_cloud_that_is_down_gives_the_answer_the_line_and_the_code(
    invoke: Invoke, artifact: Path, closed_port: int
) -> None:
    code, out, err = invoke(
        "ask",
        artifact,
        "g2p: cat",
        "--cloud",
        f"127.0.0.1:{closed_port}",
        "--threshold",
        "-1",
        "--deadline-s",
        "1",
    )
    assert code == 2
    assert len(out.splitlines()) == 1
    assert "answered by the device, degraded" in err
    assert err.splitlines()[-1].startswith(
        f"error: degraded: UNAVAILABLE: cloud 127.0.0.1:{closed_port}"
    )


MISTAKES: list[tuple[str, list[str], str]] = [
    ("no artifact", ["ask", "{tmp}/nowhere", "x"], "not an artifact"),
    ("empty prompt", ["ask", "{artifact}", ""], "prompt is empty"),
    ("long prompt", ["ask", "{artifact}", "g2p: " + "a" * 60], "takes 1 to 47"),
    ("no threshold", ["ask", "{artifact}", "x", "--cloud", "127.0.0.1:1"], "not calibrated"),
    ("bad address", ["ask", "{artifact}", "x", "--cloud", "nope"], "must be HOST:PORT"),
    (
        "cloud down",
        ["record", "{artifact}", "--cloud", "127.0.0.1:{closed}", "--data", "{data}", "--out",
         "{tmp}/t.jsonl", "--threshold", "1", "--deadline-s", "1"],
        "UNAVAILABLE: cloud 127.0.0.1:",
    ),
    (
        "missing data",
        ["calibrate", "{artifact}", "--data", "{tmp}/no.jsonl", "--target-deferral-rate", "0.3"],
        "no.jsonl: cannot be read",
    ),
    (
        "empty data",
        ["calibrate", "{artifact}", "--data", "{empty}", "--target-deferral-rate", "0.3"],
        "no records; at least 1",
    ),
    (
        "bad line",
        ["calibrate", "{artifact}", "--data", "{broken}", "--target-deferral-rate", "0.3"],
        "broken.jsonl:2: not a valid record",
    ),
    (
        "bad rate",
        ["calibrate", "{artifact}", "--data", "{data}", "--target-deferral-rate", "1.3"],
        "must be in [0, 1], got 1.3",
    ),
    # What is known to be wrong before the queries are read is said before they are asked.
    (
        "bad rate first",
        ["calibrate", "{artifact}", "--data", "{tmp}/no.jsonl", "--target-deferral-rate", "nan"],
        "target deferral rate must be in [0, 1], got nan",
    ),
    (
        "unknown rule first",
        ["calibrate", "{artifact}", "--data", "{tmp}/no.jsonl", "--target-deferral-rate", "0.3",
         "--rule", "midle"],
        "rule must be one of mean",
    ),
    (
        "bad miss rate first",
        ["calibrate", "{artifact}", "--data", "{tmp}/no.jsonl", "--target-deferral-rate", "0.3",
         "--early-miss-rate", "1"],
        "miss rate must be in (0, 1), got 1",
    ),
    ("nothing to inspect", ["inspect", "{tmp}/nowhere"], "nowhere: not an artifact: there is no"),
    ("devices alone", ["simulate", "{data}", "--devices", "{tmp}/no.toml", "--out", "{tmp}/r"],
     "--devices goes with --device"),
    ("unknown profile", ["proxy", "--profile", "coe-10sm", "--upstream", "[::1]:1"], "coe-10ms"),
    (
        "unknown profile to simulate",
        ["simulate", "{data}", "--profile", "mars", "--out", "{tmp}/r.html"],
        "mars",
    ),
    ("no trace", ["simulate", "{data}", "--out", "{tmp}/r.html"],
     "`schema`; a trace is what `escalade record` writes"),
    ("no model", ["export", "{tmp}/nowhere", "{tmp}/out"], "nowhere: no such folder"),
    ("no GGUF file", ["export", "{tmp}/none.gguf", "{tmp}/out"], "none.gguf: no such file"),
    ("no recipe", ["train", "{tmp}/no.toml", "{tmp}/out"], "no.toml: cannot be read"),
    (
        "unknown rule",
        ["calibrate", "{artifact}", "--data", "{data}", "--target-deferral-rate", "0.3",
         "--rule", "quantil:0.4"],
        "quantile:Q",
    ),
    ("no model to trace", ["trace", "{tmp}/a", "{tmp}/b", "{data}", "{tmp}/t"], "no such folder"),
    ("router without trace", ["router", "{data}", "{tmp}/r"], "not a valid TraceHeader"),
    ("no trace to evaluate", ["evaluate", "{tmp}/none.jsonl"], "none.jsonl"),
    ("no model to serve", ["serve", "{tmp}/nowhere", "--listen", "127.0.0.1:0"], "nowhere"),
    ("port in use", ["proxy", "--profile", "lan", "--listen", "127.0.0.1:{busy}", "--upstream",
                     "127.0.0.1:1"], "{busy}"),
    ("proxy without upstream", ["proxy", "--profile", "lte"], "Missing option '--upstream'"),
    ("control elsewhere", ["proxy", "--profile", "lte", "--upstream", "127.0.0.1:1",
                           "--control", "0.0.0.0:0"], "must be loopback"),
    ("no control", ["proxy", "show", "127.0.0.1:{closed}"], "{closed}: Connection refused"),
    ("two networks", ["proxy", "set", ":1", "lte", "lan"], "one PROFILE at most; got lte, lan"),
    ("a seed", ["proxy", "--seed", "1", "show", ":1"], "--seed is of a proxy that starts"),
    ("a port", ["proxy", "--listen", ":0", "pause", ":1"], "--listen is of a proxy that starts"),
    ("no TOML", ["proxy", "set", ":1", "rtt_ms=fast"], "rtt_ms: must be a TOML value"),
    ("no number", ["plan", "{data}", "--p95-ms", "abc"], "as a number, got 'abc'"),
    ("too small", ["profiles", "convert", "{data}", "--out", "{tmp}/o", "--step-ms", "0"],
     "equal to 1, got '0'"),
    ("no checkpoints", ["demo", "--models", "{tmp}"], "run the demo in a clone"),
    ("no prompts", ["load", "127.0.0.1:{closed}", "--prompts", "gtwop"],
     "no such file, and no task: gtwop; tasks are g2p, p2g"),
    ("no outbox", ["outbox", "flush", "{artifact}", "--outbox", "{tmp}/o.sqlite"],
     "o.sqlite: no outbox"),
    ("demo into a file", ["demo", "--out", "{data}"], "is no folder; a folder's name is needed"),
    ("nobody to fetch from", ["store", "install", "http://127.0.0.1:{closed}/x", "{tmp}/store"],
     "manifest.json: cannot be fetched: Connection refused"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "says"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES]
)
def test_a_mistake_costs_one_line_and_exit_code_2(
    invoke: Invoke,
    artifact: Path,
    data: Path,
    tmp_path: Path,
    closed_port: int,
    arguments: list[str],
    says: str,
) -> None:
    empty, broken = tmp_path / "empty.jsonl", tmp_path / "broken.jsonl"
    empty.touch()
    broken.write_text(data.read_text().splitlines()[0] + "\n{oops\n")
    before = sorted(tmp_path.iterdir())
    with socket.create_server(("127.0.0.1", 0)) as busy:
        names = {
            "tmp": tmp_path,
            "artifact": artifact,
            "data": data,
            "empty": empty,
            "broken": broken,
            "closed": closed_port,
            "busy": busy.getsockname()[1],
        }
        code, out, err = invoke(*(argument.format(**names) for argument in arguments))
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert out == ""
    assert "Traceback" not in err
    assert len(errors) == 1
    assert says.format(**names) in errors[0]
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["ask"], ["export", "a", "b", "--quantize", "int3"], ["demo", "--queries", "1"]],
)
def test_usage_errors_have_the_same_code(invoke: Invoke, arguments: list[str]) -> None:
    code, out, err = invoke(*arguments)
    assert code == 2
    assert out == ""
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert line.endswith(" --help")


@pytest.mark.parametrize(
    ("verb", "options", "loaded"),
    [
        ("evaluate", [], "escalade.simulator.evaluation"),
        ("simulate", ["--profile", "lte"], "escalade.simulator.report"),
        ("plan", ["--profile", "lte", "--calls", "0.5"], "escalade.simulator.planning"),
    ],
)
def test_too_little_memory_is_one_line(
    tmp_path: Path, verb: str, options: list[str], loaded: str
) -> None:
    """A limit as `ulimit -v` sets it, a little above what the process has once all is loaded."""
    member = {"member": 0, "text": "x", "logprobs": [-0.5] * 50, "seconds": 0.1, "correct": True}
    member |= {"prompt_tokens": 3, "generated_tokens": 50}
    said = {"text": "x", "members": [member], "score": 0.5, "correct": True, "seconds": 0.1}
    said |= {"stopped_early": False, "link": None, "hops": []}
    row = {"task": "g2p", "prompt": "x", "references": ["x"], "tiers": [said, said]}
    row |= {"answered_by": 0, "outcome": "answered", "total_s": 0.2, "reason": None}
    models = [{"name": "m", "parameters": 100}]
    tiers = [
        {"name": "a", "place": "device", "members": models, "rule": "mean", "threshold": 0.5},
        {"name": "b", "place": "cloud", "members": models, "rule": None, "threshold": None},
    ]
    path = tmp_path / "long.jsonl"
    with path.open("w") as stream:
        stream.write(json.dumps({"schema": 2, "tiers": tiers, "created": "now"}) + "\n")
        stream.writelines(json.dumps({"id": f"{k}", **row}) + "\n" for k in range(20_000))
    code = (
        "import resource, sys\n"
        f"import escalade.cli.destinations, escalade.cli.options, {loaded}\n"
        "import numpy; numpy.ones((999, 999)) @ numpy.ones((999, 999))\n"  # its buffers
        "from escalade.cli.main import run\n"
        "from escalade.cli.output import progress_bar\n"
        "pages = int(open('/proc/self/statm').read().split()[0])\n"
        "most = pages * resource.getpagesize() + 30_000_000\n"
        "resource.setrlimit(resource.RLIMIT_AS, (most, most))\n"
        f"sys.argv = ['escalade', {verb!r}, *sys.argv[1:], {str(path)!r}]\n"
        "run()\n"
    )
    if verb == "simulate":
        options = [*options, "--out", str(tmp_path / "page.html")]
    command = [sys.executable, "-c", code, *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: out of memory")
    less = subprocess.run(
        [*command, "--sample", "50", *(["--resamples", "1"] if verb == "evaluate" else [])],
        capture_output=True,
        text=True,
        check=False,
    )
    assert less.returncode == 0, less.stderr
    assert "long.jsonl: 50 of 20,000 queries" in less.stdout
