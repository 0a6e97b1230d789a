"""Reads a Markdown page into the blocks a reader may paste; runs nothing.

Every block is one of:

- `sh`: fenced as such, or indented and beginning with a known command; run in order;
- `python`: fenced; run in order, in one namespace a page, as a reader's interpreter would;
- `toml` whose first line is `# NAME`: a file beside the commands;
- `output`: what the block just above it prints: `text` after a fence, or the paragraphs of an
  indented block that follow its commands;
- not run: the comment `<!-- not run: WHY -->` stands above it, or `<!-- run instead: COMMANDS -->`,
  or a drawing's, which has a test of its own.

Anything else is a fault of the page.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

Kind = Literal["sh", "python", "file", "output", "not run"]

#: First words of an indented paragraph that is commands.
COMMANDS = frozenset(
    {".", "cat", "curl", "echo", "escalade", "export", "for", "git", "kill", "make", "mkdir"}
    | {
        "accelerate",
        "model_signing",
        "openssl",
        "optimum-cli",
        "pip",
        "printf",
        "python",
        "python3",
        "rsync",
    }
    | {"scp", "ssh", "sudo", "until"}
)
_FENCE = re.compile(r"^ {0,3}(`{3,})\s*(\w*)\s*$")
_COMMENT = re.compile(r"^\s*<!-- (not run|run instead|drawing): (.+?) -->\s*$")
_HERE = re.compile(r"<<-?\s*'?(\w+)'?")
_SERVES = re.compile(r"(\S+/)?escalade (serve\b|gateway\b|listen\b|proxy -)")
_ASSIGNED = re.compile(r"^(\w+=\S* +)+")
_INDENT = "    "


class PageError(Exception):
    """A page holds a block that nobody can run and that does not say why."""


@dataclass(frozen=True)
class Block:
    """One block, or one paragraph of an indented one."""

    kind: Kind
    text: str
    #: The file's name, or why the block is not run.
    note: str = ""
    #: Where it begins, or the indented block that it is a paragraph of.
    line: int = 0


def read_page(path: Path) -> list[Block]:
    """The blocks of a page in their order.

    Raises:
        PageError: names the page, the line and what is missing.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    found: list[Block] = []
    comment: tuple[str, str] | None = None
    runs = False  # whether commands or Python stand right above
    k = 0
    while k < len(lines):
        where, start = f"{path.name}:{k + 1}", k
        blocks: list[Block] = []
        if fence := _FENCE.match(lines[k]):
            k = next(n for n in range(k + 1, len(lines)) if lines[n].strip() == fence[1]) + 1
            text = "\n".join(lines[start + 1 : k - 1]) + "\n"
            blocks = _said(comment, text, where) or _fenced(fence[2], text, where, runs=runs)
        elif _begins_code(lines, k):
            while k < len(lines) and (lines[k].startswith(_INDENT) or not lines[k].strip()):
                k += 1
            body = [line[len(_INDENT) :] for line in lines[start:k]]
            text = "\n".join(body).rstrip() + "\n"
            blocks = _said(comment, text, where) or _indented(body, where)
        else:
            k += 1
        if blocks:
            found += [replace(block, line=start + 1) for block in blocks]
            runs, comment = blocks[-1].kind != "not run", None
        elif seen := _COMMENT.match(lines[start]):
            comment = (seen[1], seen[2])
        elif lines[start].strip():
            runs, comment = False, None
    return found


def _begins_code(lines: list[str], k: int) -> bool:
    """Indented text is code where a blank line or a comment is above it; else a list's."""
    if not lines[k].startswith(_INDENT) or not lines[k].strip():
        return False
    above = lines[k - 1] if k else ""
    in_list = next(
        (line for line in reversed(lines[:k]) if line and not line.startswith(" ")), ""
    ).startswith(("- ", "* ", "1."))
    return (not above.strip() or _COMMENT.match(above) is not None) and not in_list


def _said(comment: tuple[str, str] | None, text: str, where: str) -> list[Block]:
    """What a comment above a block makes of it."""
    if comment is None:
        return []
    word, rest = comment
    if word == "run instead":
        return [Block("sh", rest + "\n")]
    if word == "not run" and len(rest.split()) < 3:
        raise PageError(f"{where}: say in a few words why it is not run, not {rest!r}")
    return [Block("not run", text, rest)]


def _fenced(language: str, text: str, where: str, *, runs: bool) -> list[Block]:
    if language == "sh" or language == "python":  # noqa: PLR1714 - a set would widen the type
        return [Block(language, text)]
    first = text.partition("\n")[0]
    if language == "toml" and re.fullmatch(r"# [\w.-]+\.toml", first):
        return [Block("file", text, first.removeprefix("# "))]
    if language == "text" and runs:
        return [Block("output", text)]
    raise PageError(
        f"{where}: this block of {language or 'no language'} is neither sh, python, toml with a"
        " name nor the output of commands right above it: say why above it, <!-- not run: ... -->"
    )


def _indented(body: list[str], where: str) -> list[Block]:
    """Commands, then what they print, then commands, ..."""
    found: list[Block] = []
    paragraph: list[str] = []
    for text in [*body, ""]:
        if text.strip():
            paragraph.append(text)
            continue
        if not paragraph:
            continue
        whole = "\n".join(paragraph) + "\n"
        if here := _HERE.search(whole):
            raise PageError(
                f"{where}: an indented here-document ({here[1]}) does not close when it is pasted:"
                " fence it as sh"
            )
        words = _ASSIGNED.sub("", paragraph[0] + " ").split() or ["."]
        if words[0].rpartition("/")[2] in COMMANDS:
            found.append(Block("sh", whole))
        elif found:
            found.append(Block("output", whole))
        else:
            raise PageError(
                f"{where}: this block begins with {paragraph[0]!r}, which is no command known"
                " to the reader of pages: say why it is not run, <!-- not run: ... -->"
            )
        paragraph = []
    return found


def check_servers(blocks: list[Block], name: str) -> None:
    """Whoever starts a server in the background waits for it before using it.

    Raises:
        PageError: a line follows `... &` in the same block; or it runs in the foreground.
    """
    for block in blocks:
        if block.kind != "sh":
            continue
        lines = joined(block.text)
        for line, following in pairwise([*lines, ""]):
            behind = line.endswith("&")
            if behind and following and not following.endswith("&"):
                raise PageError(
                    f"{name}:{block.line}: {following!r} does not wait for the server before it:"
                    " begin a new block"
                )
            if _SERVES.match(line) and not behind:
                raise PageError(f"{name}:{block.line}: {line!r} hangs the reader: end it with &")


def joined(commands: str) -> list[str]:
    """Lines of commands, continued ones as one, without comments at their end."""
    lines = commands.replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*$", "", line).rstrip() for line in lines if line.strip()]
