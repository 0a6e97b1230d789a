"""Compares what a page shows with what a command printed: words, and numbers by a tolerance.

What differs from run to run or from machine to machine is not compared: times, dates, digests,
folders. Numbers may differ by a tenth, percentages by two points.
"""

from __future__ import annotations

import re

_RELATIVE = 0.1
_POINTS = 2.0  # of a percentage: another processor answers a few queries differently
_LEAST = 0.005  # of a score or threshold near 0

_ANY = re.compile(
    r"\d{4}-\d\d-\d\dT\S+"  # a time
    r"|\b[0-9a-f]{12,64}\b"  # a digest
    r"|\d[\d.]* (?:ms|s)\b"
    r"|/[\w./-]+/(?=[\w-])"  # where a folder lies
)
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?%?(?!\w)")


def differences(shown: str, printed: str) -> list[str]:
    """Lines of a page that the output has not, in their order.

    A line `...` stands for any lines, and ` ...` at a line's end for what follows in it.
    """
    if _holds(_words(printed), _words(shown)):  # wrapped elsewhere
        return []
    lines = [_words(line) for line in printed.splitlines()]
    missing = []
    k = 0
    for line in shown.splitlines():
        if line.strip() in {"", "..."}:
            continue
        wanted = _words(line.removesuffix(" ..."))
        alike = _begins if line.endswith(" ...") else _alike
        found = next((n for n in range(k, len(lines)) if alike(wanted, lines[n])), None)
        if found is None:
            missing.append(line)
        else:
            k = found + 1
    return missing


def _holds(whole: tuple[str, list[str]], part: tuple[str, list[str]]) -> bool:
    start = whole[0].find(part[0])
    numbers = whole[1][whole[0][: max(start, 0)].count("#") :][: len(part[1])]
    return start >= 0 and all(map(_near, part[1], numbers))


def _words(line: str) -> tuple[str, list[str]]:
    line = _ANY.sub("*", line)
    return " ".join(_NUMBER.sub("#", line).split()), _NUMBER.findall(line)


def _alike(one: tuple[str, list[str]], other: tuple[str, list[str]]) -> bool:
    return one[0] == other[0] and all(map(_near, one[1], other[1]))


def _begins(one: tuple[str, list[str]], other: tuple[str, list[str]]) -> bool:
    return other[0].startswith(one[0]) and all(map(_near, one[1], other[1]))


def _near(shown: str, printed: str) -> bool:
    a, b = (float(text.rstrip("%").replace(",", "")) for text in (shown, printed))
    if shown.endswith("%") and printed.endswith("%"):
        return abs(a - b) <= max(_POINTS, _RELATIVE * abs(a))
    return abs(a - b) <= max(_LEAST, _RELATIVE * abs(a))
