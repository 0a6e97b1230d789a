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
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Literal

Kind = Literal["sh", "python", "file", "output", "not run"]

#: First words of an indented paragraph that is commands.
COMMANDS = frozenset(
    {".", "cat", "curl", "echo", "escalade", "export", "for", "git", "kill", "make", "mkdir"}
    | {"model_signing", "openssl", "optimum-cli", "pip", "printf", "python", "python3", "rsync"}
    | {"scp", "ssh", "sudo", "until"}
)
_FENCE = re.compile(r"^ {0,3}(`{3,})\s*(\w*)\s*$")
_COMMENT = re.compile(r"^\s*<!-- (not run|run instead|drawing): (.+?) -->\s*$")
_HERE = re.compile(r"<<-?\s*'?(\w+)'?")
_ASSIGNED = re.compile(r"^(\w+=\S* +)+")
_INDENT = "    "


class PageError(Exception):
    """A page holds a block that nobody can run and that does not say why."""


@dataclass(frozen=True)
class Block:
    """One block, or one paragraph of an indented one."""

    kind: Kind
    text: str
    line: int
    #: The file's name, or why the block is not run.
    note: str = ""


def read_page(path: Path) -> list[Block]:
    """The blocks of a page in their order.

    Raises:
        PageError: names the page, the line and what is missing.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    found: list[Block] = []
    comment: tuple[str, str] | None = None
    k = 0
    while k < len(lines):
        where = f"{path.name}:{k + 1}"
        if seen := _COMMENT.match(lines[k]):
            comment, k = (seen[1], seen[2]), k + 1
        elif fence := _FENCE.match(lines[k]):
            end = next(n for n in range(k + 1, len(lines)) if lines[n].strip() == fence[1])
            text = "\n".join(lines[k + 1 : end]) + "\n"
            after = found[-1] if found and found[-1].kind in {"sh", "python", "output"} else None
            found += _said(comment, text, k + 1) or _fenced(fence[2], text, k + 1, where, after)
            comment, k = None, end + 1
        elif lines[k].startswith(_INDENT) and _begins_code(lines, k):
            end = k
            while end < len(lines) and (lines[end].startswith(_INDENT) or not lines[end].strip()):
                end += 1
            body = [line[len(_INDENT) :] for line in lines[k:end]]
            said = _said(comment, "\n".join(body).rstrip() + "\n", k + 1)
            found += said or _indented(body, k + 1, where)
            comment, k = None, end
        else:
            if lines[k].strip():
                comment = None
                found.append(Block("not run", "", k + 1, "prose"))
            k += 1
    return [block for block in found if block.note != "prose"]


def _begins_code(lines: list[str], k: int) -> bool:
    """Indented text is code where a blank line or a comment is above it; else a list's."""
    above = lines[k - 1] if k else ""
    in_list = next(
        (line for line in reversed(lines[:k]) if line and not line.startswith(" ")), ""
    ).startswith(("- ", "* ", "1."))
    return (not above.strip() or _COMMENT.match(above) is not None) and not in_list


def _said(comment: tuple[str, str] | None, text: str, line: int) -> list[Block]:
    """What a comment above a block makes of it."""
    if comment is None:
        return []
    word, rest = comment
    if word == "run instead":
        return [Block("sh", rest + "\n", line)]
    if word == "not run" and len(rest.split()) < 3:
        raise PageError(f"line {line}: say in a few words why it is not run, not {rest!r}")
    return [Block("not run", text, line, rest)]


def _fenced(language: str, text: str, line: int, where: str, after: Block | None) -> list[Block]:
    if language in {"sh", "python"}:
        return [Block("sh" if language == "sh" else "python", text, line)]
    first = text.partition("\n")[0]
    if language == "toml" and re.fullmatch(r"# [\w.-]+\.toml", first):
        return [Block("file", text, line, first.removeprefix("# "))]
    if language == "text" and after is not None:
        return [Block("output", text, line)]
    raise PageError(
        f"{where}: this block of {language or 'no language'} is neither sh, python, toml with a"
        " name nor the output of commands right above it: say why above it, <!-- not run: ... -->"
    )


def _indented(body: list[str], line: int, where: str) -> list[Block]:
    """Commands, then what they print, then commands, ..."""
    found: list[Block] = []
    paragraph: list[str] = []
    start = line
    for number, text in enumerate([*body, ""], line):
        if text.strip():
            start = start if paragraph else number
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
            found.append(Block("sh", whole, start))
        elif found:
            found.append(Block("output", whole, start))
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
            if re.match(r"(\S+/)?escalade (serve|gateway|proxy)\b", line) and not behind:
                raise PageError(f"{name}:{block.line}: {line!r} hangs the reader: end it with &")


def joined(commands: str) -> list[str]:
    """Lines of commands, continued ones as one, without comments at their end."""
    lines = commands.replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*$", "", line).rstrip() for line in lines if line.strip()]
