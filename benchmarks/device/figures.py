"""From timings to figures: speeds, ratios, shares, costs; prints nothing."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from benchmarks.device import shape
from benchmarks.device.contestants import Contestant, Kind
from benchmarks.device.rounds import Measured, Sample
from benchmarks.device.wire import Mode


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Of one figure over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """Median, smallest and largest."""
        found = sorted(values)
        return cls(median=statistics.median(found), low=found[0], high=found[-1])


@dataclass(frozen=True, kw_only=True)
class Row:
    """One contestant in one mode, at one number of threads and one prompt."""

    name: str
    mode: Mode
    threads: int
    prompt: int
    #: Tokens a second.
    prefill: Spread
    decode: Spread
    #: Tokens for a second of CPU time; None with several threads, which spin while they wait.
    prefill_cpu: Spread | None
    decode_cpu: Spread | None
    #: Of the time on its cores, what went to other processes; median.
    disturbed: float
    #: Bytes of weights, keys and values read for one token in the middle of the response.
    bytes_per_token: float
    #: Those times the decode speed, over the bandwidth measured in the same round.
    bandwidth_share: Spread
    #: Of the process so far, less its program's bytes.
    memory_over_program: int


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Ours over a peer's, round by round."""

    what: str
    peer: str
    threads: int
    prompt: int
    speed: Spread
    #: The same of CPU time, with one thread.
    cpu: Spread | None
    #: At least; None where the bits differ and nothing is asked.
    target: float | None


def verdict(found: Spread, target: float, *, at_least: bool) -> str:
    """Whether a target is reached, where the rounds agree on it.

    The range of 5 rounds holds the true median with a probability of 94 %, that of 7 with 98 %
    (1 - 2^(1 - n), whatever the distribution): a target inside the range is not decided.
    """
    low_reaches = found.low >= target if at_least else found.low <= target
    high_reaches = found.high >= target if at_least else found.high <= target
    if low_reaches != high_reaches:
        return "undecided"
    return "reached" if low_reaches else "not reached"


#: What is compared: (name, ours or the peer's phase, peer, its mode, at least).
_TARGETS: tuple[tuple[str, str, Kind, Mode, float], ...] = (
    ("decode, both scored", "decode", "llama.cpp", "scored", 1.2),
    ("decode, both scored", "decode", "genai", "scored", 1.5),
    ("decode, ours scored, theirs plain", "decode", "genai", "plain", 1.0),
    ("prefill", "prefill", "llama.cpp", "scored", 0.8),
)


def rows(measured: Measured, contestants: Sequence[Contestant]) -> list[Row]:
    """One for each contestant, mode, number of threads and prompt, in that order of change."""
    by_mode = {(one.name, mode): one for one in contestants for mode in one.modes}
    keys = {(s.threads, s.prompt, s.name, s.mode): None for s in measured.samples}
    order = list(by_mode)
    sorted_keys = sorted(keys, key=lambda key: (key[0], key[1], order.index((key[2], key[3]))))
    return [
        _row(_chosen(measured, *key), by_mode[key[2], key[3]], measured.bandwidth[key[:2]])
        for key in sorted_keys
    ]


def ratios(measured: Measured, contestants: Sequence[Contestant]) -> list[Ratio]:
    """Ours against every peer; targets hold against the one whose head has as many bits."""
    ours = next((one for one in contestants if one.kind == "escalade"), None)
    if ours is None:
        return []
    found = []
    for threads, prompt in dict.fromkeys((s.threads, s.prompt) for s in measured.samples):
        mine = _chosen(measured, threads, prompt, ours.name, "scored")
        for what, phase, kind, mode, target in _TARGETS:
            for peer in contestants:
                if peer.kind != kind:
                    continue
                theirs = _chosen(measured, threads, prompt, peer.name, mode)
                found.append(
                    Ratio(
                        what=what,
                        peer=peer.name,
                        threads=threads,
                        prompt=prompt,
                        speed=_quotients(mine, theirs, f"{phase}_s"),
                        cpu=_quotients(mine, theirs, f"{phase}_cpu_s") if threads == 1 else None,
                        target=target if peer.head_bits == ours.head_bits else None,
                    )
                )
    return found


def _row(samples: list[Sample], contestant: Contestant, rates: list[float]) -> Row:
    first = samples[0]
    timings = [sample.timing for sample in samples]
    passes = timings[0].tokens - 1  # the first token comes out of the prompt's pass
    decode = Spread.of(passes / timing.decode_s for timing in timings)
    positions = first.prompt + timings[0].tokens / 2
    bytes_per_token = contestant.program_bytes + positions * shape.kv_bytes_per_position(
        contestant.kv_bytes
    )
    alone = first.threads == 1
    return Row(
        name=first.name,
        mode=first.mode,
        threads=first.threads,
        prompt=first.prompt,
        prefill=Spread.of(first.prompt / timing.prefill_s for timing in timings),
        decode=decode,
        prefill_cpu=Spread.of(first.prompt / t.prefill_cpu_s for t in timings) if alone else None,
        decode_cpu=Spread.of(passes / t.decode_cpu_s for t in timings) if alone else None,
        disturbed=statistics.median(sample.disturbed for sample in samples),
        bytes_per_token=bytes_per_token,
        bandwidth_share=Spread.of(
            bytes_per_token * passes / timing.decode_s / rates[sample.round]
            for sample, timing in zip(samples, timings, strict=True)
        ),
        memory_over_program=max(t.peak_rss for t in timings) - contestant.program_bytes,
    )


def _chosen(measured: Measured, threads: int, prompt: int, name: str, mode: Mode) -> list[Sample]:
    wanted = (threads, prompt, name, mode)
    return [s for s in measured.samples if (s.threads, s.prompt, s.name, s.mode) == wanted]


def _quotients(mine: list[Sample], theirs: list[Sample], name: str) -> Spread:
    return Spread.of(
        getattr(their.timing, name) / getattr(my.timing, name)
        for my, their in zip(mine, theirs, strict=True)
    )
