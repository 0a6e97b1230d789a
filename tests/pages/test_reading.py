"""The reader of pages itself: what it takes for a command, and what it does not let pass."""

from __future__ import annotations

from pathlib import Path

import pytest
from pages.page_blocks import PageError, check_servers, read_page
from pages.page_output import differences
from pages.page_sessions import FailedError, Ports, Reader

PAGE = """\
# A page

    escalade ask a "x" \\
        --json
    X=1 python -c 'pass'

    what it prints

Prose.

```toml
# cascade.toml
[[tiers]]
```

<!-- not run: it takes hours -->

    make study

<!-- run instead: escalade demo --queries 20 -->

    make demo

- a list

    of two paragraphs

```python
print(1)
```
"""


def read(tmp_path: Path, text: str) -> list[tuple[str, str]]:
    page = tmp_path / "page.md"
    page.write_text(text)
    blocks = read_page(page)
    check_servers(blocks, page.name)
    return [(block.kind, block.text) for block in blocks]


def test_a_page_is_read_block_by_block(tmp_path: Path) -> None:
    assert read(tmp_path, PAGE) == [
        ("sh", "escalade ask a \"x\" \\\n    --json\nX=1 python -c 'pass'\n"),
        ("output", "what it prints\n"),
        ("file", "# cascade.toml\n[[tiers]]\n"),
        ("not run", "make study\n"),
        ("sh", "escalade demo --queries 20\n"),
        ("python", "print(1)\n"),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("    gibberish\n", "no command known"),
        ("```\nx\n```\n", "neither sh, python"),
        ("```kotlin\nval x = 1\n```\n", "say why above it"),
        ("```text\nx\n```\n", "right above it"),
        ("```sh\ntrue\n```\nProse.\n```text\nx\n```\n", "right above it"),
        ("    cat > a <<'END'\n    b\n    END\n", "does not close"),
        ("<!-- not run: slow -->\n    make study\n", "in a few words why"),
        ("    escalade serve large\n", "hangs the reader"),
        ("    escalade serve large &\n    escalade ask a x\n", "does not wait"),
    ],
)
def test_a_block_that_nobody_can_run_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(PageError, match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("score 0.0267, threshold 0.07", "score 0.0271, threshold 0.07"),
        ("device 4.9 ms", "device 19.1 ms"),
        ("right 71.2% (68.3% to 73.9%)", "right 70.1% (67.3% to 72.6%)"),
        ("137,730 bytes from e087734b0c53", "137,911 bytes from 0123456789ab"),
        ("first\nlast", "first\nbetween\nlast"),
        ("It says 1 thing. ...", "It says 1 thing. And another, of 20 words."),
        ("wrapped, 5 of\n6 here", "before 7\nwrapped, 5 of 6 here\nafter"),
    ],
)
def test_output_is_compared_by_words_and_tolerances(shown: str, printed: str) -> None:
    assert differences(shown, printed) == []


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ("threshold 0.07", "threshold 0.09"),
        ("right 71.2%", "right 60.0%"),
        ("K AE S", "K AE Z"),
        ("answered by the device", "answered by the cloud"),
        ("a\nb", "b\na"),
    ],
)
def test_other_output_is_told(shown: str, printed: str) -> None:
    assert differences(shown, printed)


def test_a_reader_pastes_into_one_shell_and_one_interpreter(tmp_path: Path) -> None:
    with Reader(tmp_path, {"PATH": "/usr/bin:/bin"}) as reader:
        assert reader.sh("x=1; cat") == ""  # nothing of the page is a command's input
        assert reader.sh("cat > y <<'END'\n2\nEND\necho $x; cat y") == "1\n2\n"
        with pytest.raises(FailedError, match="exit code 1 at: false"):
            reader.sh("false\ntrue")
        assert reader.sh("echo 'error: so' ; false", may_fail=True) == "error: so\n"
        reader.sh("sleep 60 &")
        assert "sleep 60" in reader.jobs()
        reader.sh("kill %1")
        reader.wait_for_jobs()
        assert reader.python("x = 3\nprint(x)", "page.md") == "3\n"
        assert reader.python("print(x + 1)", "page.md") == "4\n"
        with pytest.raises(FailedError, match="ZeroDivisionError"):
            reader.python("1 / 0", "page.md")


def test_ports_of_a_page_are_replaced_by_free_ones() -> None:
    ports = Ports("--listen 127.0.0.1:50051 and http://localhost:8123/, rsa:2048")
    text = ports.put("python3 -m http.server 8123; :50051; rsa:2048")
    assert "8123" not in text
    assert "rsa:2048" in text
    assert "50051" not in text
    assert ports.back(text) == "python3 -m http.server 8123; :50051; rsa:2048"
    assert len(ports.of(text)) == 2
