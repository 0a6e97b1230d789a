"""`escalade ask` beyond one question: streaming, stopping, sampling, conversations, limits."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escalade.edge.artifact import file_entry
from escalade.edge.generation import Delta, Generation

Invoke = Callable[..., tuple[int, str, str]]
PROMPT = "g2p: cascade"
# Not the 10 s that a cloud has else.
GONE = ("--deadline-s", "0.1", "--cloud")


@pytest.fixture
def artifact(int8_artifact: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(int8_artifact, tmp_path / "artifact"))


def asked(invoke: Invoke, *arguments: object) -> dict[str, Any]:
    code, out, _ = invoke("ask", *arguments, "--json")
    assert code == 0
    answer: dict[str, Any] = json.loads(out)
    return answer


def test_a_stream_is_the_answer(invoke: Invoke, artifact: Path) -> None:
    code, whole, _ = invoke("ask", artifact, PROMPT)
    assert code == 0
    code, streamed, err = invoke("ask", artifact, PROMPT, "--stream")
    assert (code, streamed) == (0, whole)
    assert "answered by the device" in err


def test_with_a_cloud_the_stream_is_a_draft(
    invoke: Invoke, artifact: Path, silent_cloud: str
) -> None:
    _, whole, _ = invoke("ask", artifact, PROMPT)
    arguments = (*GONE, silent_cloud, "--threshold", "-1", "--stream")
    code, out, err = invoke("ask", artifact, PROMPT, *arguments)
    assert (code, out) == (2, whole)
    assert err.startswith(whole)
    assert "answered by the device, degraded" in err


def test_ctrl_c_ends_the_line_and_the_command(
    invoke: Invoke, artifact: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # The signal itself, after the third piece, wherever the machine is slow.
    next_piece, given = Generation.__next__, []

    def interrupted(self: Generation) -> Delta:
        if len(given) == 3:
            signal.raise_signal(signal.SIGINT)
        given.append(next_piece(self))
        return given[-1]

    _, whole, _ = invoke("ask", artifact, PROMPT)
    monkeypatch.setattr(Generation, "__next__", interrupted)
    trace = tmp_path / "t.jsonl"
    arguments = ("--stream", "--trace", trace, "--threshold", "1")
    code, out, err = invoke("ask", artifact, PROMPT, *arguments)
    assert code == 130
    assert out == "".join(piece.text for piece in given) + "\n"
    assert whole.startswith(out.rstrip("\n"))
    assert "Traceback" not in err
    assert not trace.exists()


def test_a_stop_sequence_ends_the_answer_before_it(invoke: Invoke, artifact: Path) -> None:
    whole = asked(invoke, artifact, PROMPT)
    stop = whole["answer"][3:5]
    short = asked(invoke, artifact, PROMPT, "--stop", "no such text", "--stop", stop)
    assert short["answer"] == whole["answer"][: whole["answer"].index(stop)]
    assert (whole["stop"], short["stop"]) in {("end", "stop"), ("length", "stop")}


def test_sampling_repeats_with_its_seed(invoke: Invoke, artifact: Path) -> None:
    hot = ("--temperature", "4", "--top-k", "30", "--top-p", "0.95")
    answers = [
        asked(invoke, artifact, PROMPT, *hot, "--seed", seed)["answer"] for seed in (1, 1, 2)
    ]
    assert answers[0] == answers[1] != answers[2]
    greedy = asked(invoke, artifact, PROMPT)["answer"]
    assert asked(invoke, artifact, PROMPT, "--top-k", "1")["answer"] == greedy
    assert asked(invoke, artifact, PROMPT, "--threads", "1")["answer"] == greedy


def test_a_conversation_goes_through_the_template(invoke: Invoke, artifact: Path) -> None:
    template = artifact / "chat_template.jinja"
    template.write_text("{% for m in messages %}{{ m.content }}{% endfor %}<sep>")
    manifest = json.loads((artifact / "manifest.json").read_text())
    entry = file_entry(template)
    manifest["files"][template.name] = {"sha256": entry.sha256, "bytes": entry.bytes}
    manifest["model"]["chat"] = {"template": template.name}
    (artifact / "manifest.json").write_text(json.dumps(manifest))
    plain = asked(invoke, artifact, PROMPT)
    assert asked(invoke, artifact, PROMPT, "--chat")["answer"] == plain["answer"]
    split = asked(invoke, artifact, "cascade", "--chat", "--system", "g2p: ")
    assert split["answer"] == plain["answer"]


def test_an_answer_may_be_shorter(invoke: Invoke, artifact: Path) -> None:
    short = asked(invoke, artifact, PROMPT, "--max-new-tokens", "2")
    assert short["stop"] == "length"
    assert short["tiers"][0]["said"]["members"][0]["generated_tokens"] == 2


def test_early_deferral_loses_nothing_when_the_cloud_is_silent(
    invoke: Invoke, artifact: Path, silent_cloud: str
) -> None:
    _, whole, _ = invoke("ask", artifact, PROMPT)
    arguments = (*GONE, silent_cloud, "--threshold", "0.02", "--early", "certain")
    code, out, err = invoke("ask", artifact, PROMPT, *arguments)
    assert (code, out) == (2, whole)
    assert "degraded" in err


MISTAKES: list[tuple[list[str], str]] = [
    (["--stream", "--json"], "a stream is no JSON document"),
    (["--system", "x"], "goes with --chat"),
    (["--chat"], "the model has no chat template"),
    (["--stop", ""], "'--stop': must have at least 1 character, got ''"),
    (["--stop", "\udcff"], "a stop text must be valid Unicode text"),
    (["--stop", "a"] * 17, "stop texts must be at most 16, got 17"),
    (["--max-new-tokens", "0"], "'--max-new-tokens': Input should be greater than or equal to 1"),
    (["--cloud", "nowhere", "--threshold", "1"], "BAD_ADDRESS: cloud address must be HOST:PORT"),
    (["--cloud", "localhost:9"], "not calibrated: run `escalade calibrate`, or give a threshold"),
    (["--threshold", "nan"], "threshold must be a finite number, got nan"),
    (["--temperature", "0"], "temperature must be a finite number above 0, got 0.0"),
    (["--top-k", "-1"], "top_k must be 0 (all) or more, got -1"),
    (["--top-p", "1.5"], "top_p must be in (0, 1], got 1.5"),
    (["--seed", "-3"], "'--seed': Input should be greater than or equal to 0, got '-3'"),
    (["--max-memory", "2X"], "'2X' is no size"),
    (["--max-memory", "K"], "'K' is no size"),
    (["--max-memory", "1KK"], "'1KK' is no size"),
    (["--max-memory", "1K"], "may take at most 1024"),
    (["--trusted-key", "no.pem"], "not signed: model.sig is missing"),
    (["--threads", "100000"], "'--threads': Input should be less than or equal to 256"),
    (["--nope"], "No such option: --nope"),
    (["--early", "likely", "--threshold", "1"], "was not calibrated to stop early"),
]


@pytest.mark.parametrize(("arguments", "says"), MISTAKES)
def test_a_mistake_is_said_and_costs_exit_code_2(
    invoke: Invoke, artifact: Path, arguments: list[str], says: str
) -> None:
    code, out, err = invoke("ask", artifact, PROMPT, *arguments)
    assert (code, out) == (2, "")
    (line,) = err.splitlines()
    assert line.startswith("error: ")
    assert says in line


def test_a_trace_on_a_full_disk_costs_no_answer(invoke: Invoke, artifact: Path) -> None:
    _, answer, _ = invoke("ask", artifact, PROMPT)
    full = ("--threshold", "1", "--trace", "/dev/full")
    code, out, err = invoke("ask", artifact, PROMPT, *full)
    assert (code, out) == (2, answer)
    last = err.splitlines()[-1]
    assert last == "error: /dev/full: no record was added: No space left on device"
    code, out, _ = invoke("ask", artifact, PROMPT, *full, "--json")
    assert code == 2
    assert json.loads(out)["trace_error"] == last.removeprefix("error: ")


@pytest.mark.parametrize("stream", [[], ["--stream"]])
def test_a_program_reads_what_the_model_said_and_a_terminal_nothing_worse(
    invoke: Invoke, artifact: Path, monkeypatch: pytest.MonkeyPatch, stream: list[str]
) -> None:
    said = "a\tb\r\x1b[2Jc\n"
    next_piece = Generation.__next__
    monkeypatch.setattr(Generation, "text", said)
    monkeypatch.setattr(
        Generation,
        "__next__",
        lambda self: next_piece(self)._replace(text="" if len(self.steps) > 1 else said),
    )
    _, out, _ = invoke("ask", artifact, PROMPT, *stream)
    assert out == said + "\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    _, out, _ = invoke("ask", artifact, PROMPT, *stream)
    assert out == "a\tb\\r\\x1b[2Jc\n\n"
