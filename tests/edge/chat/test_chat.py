"""Conversations: special tokens, turns that reuse the cache, and what cannot be a template."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from escalade.edge.artifact.manifest import file_entry
from escalade.edge.chat.chat import Chat, ChatPrompt
from escalade.edge.errors import ArtifactError, PromptError
from escalade.edge.generation.artifact import Artifact

EOS = "<eos>"
# The bundled tokenizer knows <sep>; eighteen letters make a prefix that is worth keeping.
TINY = "abcdefghijklmnopqr{% for m in messages %}{{ m.role[0] }}{{ m.content }}<sep>{% endfor %}"


@pytest.fixture
def chat_artifact(float_artifact: Path, tmp_path: Path) -> Callable[..., Path]:
    def make(template: str | bytes = TINY, **entry: str) -> Path:
        folder = Path(shutil.copytree(float_artifact, tmp_path / "chat"))
        path = folder / "chat_template.jinja"
        path.write_bytes(template if isinstance(template, bytes) else template.encode())
        manifest = json.loads((folder / "manifest.json").read_text())
        listed = file_entry(path)
        manifest["files"][path.name] = {"sha256": listed.sha256, "bytes": listed.bytes}
        manifest["model"]["chat"] = {"template": path.name, **entry}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        return folder

    return make


def test_the_template_writes_the_special_tokens(chat_artifact: Callable[..., Path]) -> None:
    artifact = Artifact.open(
        chat_artifact("{{ eos_token }}{{ messages[0].content }}", eos_token=EOS)
    )
    ids = ChatPrompt(artifact).encode([{"role": "user", "content": "cat"}])
    assert artifact.encode("cat")[:-1] == ids[1:]
    assert ids[0] in artifact.manifest.model.end_of_sequence_ids


def test_turns_read_only_what_is_new(chat_artifact: Callable[..., Path]) -> None:
    artifact = Artifact.open(chat_artifact())
    runtime: Any = artifact._runtime
    chat, prompts = Chat(artifact, system="s"), ChatPrompt(artifact)
    before = runtime.tokens_run
    pieces = list(chat.stream("cat", 4))
    first = prompts.encode(chat.messages[:2])
    assert runtime.tokens_run - before == len(first) + 3  # the last token is never run
    held = first + [piece.step.token_id for piece in pieces if piece.step is not None][:-1]

    before = runtime.tokens_run
    answer = chat.say("dog", 2)
    second = prompts.encode(chat.messages[:-1])
    same = next((n for n, (a, b) in enumerate(zip(held, second)) if a != b), len(held))  # noqa: B905
    assert same >= len(first)
    assert runtime.tokens_run - before == len(second) - same + 1
    assert [message["role"] for message in chat.messages] == [
        "system",
        *["user", "assistant"] * 2,
    ]
    assert chat.messages[-1]["content"] == answer
    # What was kept does not change what is said.
    fresh = Artifact.open(artifact.folder)
    assert answer == "".join(piece.text for piece in fresh.stream(second, 2))


def test_a_turn_that_is_cut_short_keeps_what_was_said(chat_artifact: Callable[..., Path]) -> None:
    chat = Chat(Artifact.open(chat_artifact()))
    turn = chat.stream("cat", 4)
    said = next(turn).text
    turn.close()  # type: ignore[attr-defined]
    assert [m["content"] for m in chat.messages] == ["cat", said]
    list(chat.stream("dog", cancelled=lambda: True))
    assert [m["content"] for m in chat.messages] == ["cat", said, "dog", ""]


def test_a_turn_that_does_not_fit_leaves_the_conversation_as_it_was(
    chat_artifact: Callable[..., Path],
) -> None:
    chat = Chat(Artifact.open(chat_artifact()), system="s")
    with pytest.raises(PromptError, match="this model takes 1 to 47"):
        chat.say("a" * 40)
    assert [m["content"] for m in chat.messages] == ["s"]


def test_what_cannot_be_a_template_is_said(
    chat_artifact: Callable[..., Path], float_artifact: Path
) -> None:
    with pytest.raises(ArtifactError, match="the model has no chat template"):
        Chat(Artifact.open(float_artifact))
    with pytest.raises(ArtifactError, match=r"chat_template\.jinja: not UTF-8"):
        Chat(Artifact.open(chat_artifact(b"\xff")))


def test_a_template_as_large_as_a_book_is_refused(chat_artifact: Callable[..., Path]) -> None:
    with pytest.raises(ArtifactError, match=r"chat_template\.jinja: "):
        Chat(Artifact.open(chat_artifact(" " * (1 << 19))))


def test_without_jinja2_the_extra_is_named(chat_artifact: Callable[..., Path]) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "sys.modules['jinja2'] = None\n"
        "from escalade.edge.generation import Artifact\n"
        "from escalade.edge.chat import Chat\n"
        "try: Chat(Artifact.open(Path(sys.argv[1])))\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, chat_artifact()], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith(
        "ArtifactError chat templates need jinja2: pip install 'escalade["
    )
