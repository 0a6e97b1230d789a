"""What a tokenizer.json takes is said before it is parsed, whatever stands in it."""

from __future__ import annotations

import json
import random
import string
import subprocess
import sys
from pathlib import Path

import pytest

from escalade.edge.artifact.tokenizer_memory import tokenizer_memory
from escalade.edge.errors import ArtifactError


def tokenizer(model: str = '{"type":"BPE","vocab":{"a":0},"merges":[]}', **parts: str) -> str:
    """A tokenizer.json with some parts written by hand."""
    names = ("added_tokens", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    rest = {name: parts.get(name, "[]" if name == "added_tokens" else "null") for name in names}
    inner = ",".join(f'"{name}":{part}' for name, part in rest.items())
    return f'{{"version":"1.0","truncation":null,"padding":null,{inner},"model":{model}}}'


def many(unit: str, size: int) -> str:
    return ",".join([unit] * (size // (len(unit) + 1)))


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def words(size: int, length: int) -> list[str]:
    dice = random.Random(1)
    return ["".join(dice.choices(string.ascii_letters, k=length)) for _ in range(size // length)]


def bpe(vocabulary: str, merges: str = "") -> str:
    return f'{{"type":"BPE","vocab":{vocabulary},"merges":[{merges}]}}'


def unigram(pieces: list[str]) -> str:
    return f'{{"type":"Unigram","unk_id":0,"vocab":{compact([[one, -1] for one in pieces])}}}'


def added(contents: list[str]) -> str:
    rest = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized", "special"), False)
    return compact([{"id": k, "content": one} | rest for k, one in enumerate(contents)])


def split(pattern: str) -> str:
    rule = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated"}
    return compact(rule | {"invert": False})


def shapes(size: int) -> dict[str, str]:
    """Files of about so many bytes, each of one thing."""
    numbers = compact({f"{k:x}": k for k in range(size // 12)})
    a_few = '{"a":0,"b":1,"ab":2}'
    return {
        "empty lists": f'{{"x":[{many("[]", size)}]}}',
        "objects": f'{{"x":[{many(chr(123) + chr(34) * 2 + ":0}", size)}]}}',
        "one character that makes all wide": f'{{"x":["\U0001f600",{many("[0]", size)}]}}',
        "short strings": f'{{"x":[{many(chr(34) + chr(0x4E00) + chr(34), size)}]}}',
        "vocabulary": tokenizer(bpe(numbers)),
        "merges": tokenizer(bpe(a_few, many('"a b"', size))),
        "pairs": tokenizer(bpe(a_few, many('["a","b"]', size))),
        "pieces": tokenizer(unigram([f"{k:x}" for k in range(size // 13)])),
        "long pieces": tokenizer(unigram(words(size, 60))),
        "a model twice": tokenizer(unigram(words(size // 4, 60)) + f',"model":{bpe(a_few)}'),
        "added tokens": tokenizer(added_tokens=added(words(size // 2, 200))),
        "rules": tokenizer(pre_tokenizer=split("|".join([r"\p{L}"] * (size // 200)))),
        "cases": tokenizer(pre_tokenizer=split("(?i)" + "\u00df" * (size // 200))),
    }


# Each in a process of its own, so that none has what another left.
MEASURE = """
import os, sys
from pathlib import Path
from tokenizers import Tokenizer
from escalade.edge.artifact.tokenizer_memory import tokenizer_memory
from escalade.v1.identity import tokenizer_fingerprint
def peak():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))
for path in Path(sys.argv[1]).iterdir():
    if not os.fork():
        before = peak()
        said = tokenizer_memory(path, path.stat().st_size)
        for take in (tokenizer_fingerprint, lambda path: Tokenizer.from_file(str(path))):
            try: kept = take(path)
            except Exception: pass
        print(said, peak() - before, path.name, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures in /proc")
@pytest.mark.parametrize("size", [100_000, pytest.param(5_000_000, marks=pytest.mark.slow)])
def test_no_tokenizer_takes_more_than_was_said(tmp_path: Path, size: int) -> None:
    own = 8 << 20  # tokenizers allocates so much for itself, once: it is in the runtime's share
    for name, text in shapes(size).items():
        (tmp_path / name).write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, tmp_path], capture_output=True, text=True, check=True
    )
    found = [line.split(maxsplit=2) for line in done.stdout.splitlines()]
    assert len(found) == len(shapes(1000))
    assert [one for one in found if int(one[1]) > int(one[0]) + own] == []


def test_a_usual_tokenizer_is_not_said_to_take_much_more_than_it_does(tmp_path: Path) -> None:
    # 50,000 tokens and merges of a byte-level BPE, as GPT-2's: measured 22 times its length.
    dice = random.Random(1)
    tokens = {"".join(dice.choices(string.ascii_letters, k=7)): k for k in range(50_000)}
    path = tmp_path / "tokenizer.json"
    merges = compact([f"{token[:3]} {token[3:]}" for token in tokens])
    path.write_text(tokenizer(bpe(compact(tokens), merges[1:-1])))
    size = path.stat().st_size
    assert tokenizer_memory(path, size) < 50 * size


@pytest.mark.parametrize("content", ["", "[]", '{"model":[]}', "{" * 5000, '{"model":1}', "\xff"])
def test_what_is_no_tokenizer_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(ArtifactError, match=r"tokenizer\.json: not a tokenizer\.json"):
        tokenizer_memory(path, 10_000)


def test_no_more_is_read_than_the_manifest_says(tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text("{}")
    with pytest.raises(ArtifactError, match="more than 1 bytes"):
        tokenizer_memory(path, 1)
    with pytest.raises(ArtifactError, match="missing"):
        tokenizer_memory(tmp_path / "none", 1)
