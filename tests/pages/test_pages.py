"""Every block of the README and of docs/ does what its page says: run as a reader would."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from pages.page_blocks import Block, check_servers, joined, read_page
from pages.page_output import differences
from pages.page_sessions import FailedError, Ports, Reader

REPO = Path(__file__).resolve().parents[2]
PAGES = [REPO / "README.md", *sorted((REPO / "docs").rglob("*.md"))]
#: What stands in a clone besides what git ignores; a page writes beside it, never into it.
_OURS = (
    "README.md",
    "benchmarks",
    "constraints.txt",
    "docs",
    "pyproject.toml",
    "tests",
    "training",
)


def _name(page: Path) -> str:
    return str(page.relative_to(REPO))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_block_can_be_run_or_says_why_not(page: Path) -> None:
    check_servers(read_page(page), page.name)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_a_page_does_what_it_says(page: Path, tmp_path: Path) -> None:
    folder, home = tmp_path / "clone", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    for name in _OURS:
        (folder / name).symlink_to(REPO / name)
    (folder / ".venv").symlink_to(sys.prefix)
    blocks = read_page(page)
    ports = Ports("\n".join(block.text for block in blocks if block.kind != "output"))
    environment = {
        **{name: os.environ[name] for name in ("PYTHONPATH", "LANG") if name in os.environ},
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        "HOME": str(home),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    with Reader(folder, environment) as reader:
        for block, shown in _with_output(blocks):
            where = f"{_name(page)}:{block.line}"
            try:
                printed = ports.back(_run(reader, block, ports, where, fails="error: " in shown))
            except FailedError as failed:
                pytest.fail(f"{where}: {failed}")
            missing = differences(shown, printed)
            assert not missing, f"{where}: not printed: {missing}; but\n{printed}"
        reader.wait_for_jobs()  # a page stops what it starts


def _with_output(blocks: list[Block]) -> list[tuple[Block, str]]:
    """What is run, each with all that the page shows of it."""
    found: list[tuple[Block, str]] = []
    for block in blocks:
        if block.kind == "output":
            before, shown = found.pop()
            found.append((before, shown + block.text))
        elif block.kind != "not run":
            found.append((block, ""))
    return found


def _run(reader: Reader, block: Block, ports: Ports, where: str, *, fails: bool) -> str:
    text = ports.put(block.text)
    if block.kind == "python":
        return reader.python(text, where)
    if block.kind == "file":
        return reader.sh(f"cat > {block.note} <<'END OF FILE'\n{text}END OF FILE\n")
    printed = reader.sh(text, may_fail=fails)
    for line in joined(text):
        if line.endswith("&"):
            ours = re.search(r"escalade .*(--listen \S+)", line)
            for port in ports.of(line if ours is None else ours[1]):
                printed += reader.wait_for(port, told=ours is not None, heard=printed)
    return printed
