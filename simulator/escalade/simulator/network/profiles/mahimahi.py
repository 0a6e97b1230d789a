"""Turns a trace of mahimahi's into bandwidth over time; knows no profile.

Each line is a millisecond at which one packet of 1504 bytes may be delivered; after the last the
trace begins anew (Netravali et al., USENIX ATC 2015; `PACKET_SIZE` and `use_a_delivery_opportunity`
in its src/frontend/link_queue). Its own traces are under the GPL: import them, none comes with the
package.
"""

from __future__ import annotations

from array import array
from collections import Counter
from pathlib import Path

from escalade.edge.base import read_text
from escalade.edge.errors import DataError
from escalade.simulator.errors import ProfileError
from escalade.simulator.network.profiles.series import RateSeries

_PACKET_BITS = 8 * 1504
_MS_PER_S = 1000

#: Of a file: ten minutes at 1 Gb/s are some 300 MB, at 100 Mb/s 30 MB.
_MOST_BYTES = 64 << 20
#: A day, in milliseconds.
_MOST_MS = 86_400_000
_MOST_DIGITS = 20


def read_mahimahi(path: Path, *, step_ms: int = 100) -> RateSeries:
    """The bandwidth of each step; the steps are the whole trace, and as many bits pass in each.

    Args:
        path: the trace.
        step_ms: about so many milliseconds is a step: the trace has a whole number of them.

    Raises:
        ProfileError: the file cannot be read, a line is no whole number of milliseconds, is less
            than the one before or beyond a day, or there is none above 0.
    """
    if not 1 <= step_ms <= _MOST_MS:
        raise ProfileError(f"a step must be 1 to {_MOST_MS} ms; got {step_ms}")
    try:
        with path.open("rb") as stream:
            text = read_text(stream, path, _MOST_BYTES)
    except DataError as error:
        raise ProfileError(str(error)) from error
    except OSError as error:
        raise ProfileError(f"{path}: cannot be read: {error.strerror}") from error
    moments = _moments(path, text)
    last_ms = moments[-1]
    steps = max(1, round(last_ms / step_ms))
    # A packet at the end of a step is that step's; one at 0 is the first's.
    packets = Counter(max(0, -(-at_ms * steps // last_ms) - 1) for at_ms in moments)
    length_s = last_ms / steps / _MS_PER_S
    mbps = _PACKET_BITS / 1e6 / length_s
    try:
        return RateSeries((k * length_s, packets[k] * mbps) for k in range(steps))
    except ProfileError as error:
        raise ProfileError(f"{path}: {error}") from error


def _moments(path: Path, text: str) -> array[int]:
    """Of each packet, in ms."""
    moments = array("L")
    last_ms = 0
    for number, line in enumerate(text.split("\n"), start=1):
        word = line.strip()
        if not word:
            continue
        good = word.isascii() and word.isdecimal() and len(word) < _MOST_DIGITS
        if not good or not last_ms <= int(word) <= _MOST_MS:
            raise ProfileError(
                f"{path}:{number}: must be a whole number of milliseconds in [{last_ms},"
                f" {_MOST_MS}]; got {word[:80]!r}"
            )
        last_ms = int(word)
        moments.append(last_ms)
    if not last_ms:
        raise ProfileError(f"{path}: must have a line above 0; got none")
    return moments
