"""How `escalade ask` shows an answer: as it comes, in words, as JSON; knows no model."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from escalade.edge.base import counted

if TYPE_CHECKING:
    from escalade.edge import Answer
    from escalade.edge.cascade import Cascade
    from escalade.edge.run import Run
    from escalade.edge.tiers import Said
    from escalade.edge.trace import TierAnswer, TierInfo


def is_streamed(tiers: list[TierInfo]) -> bool:
    """Whether deltas are the answer and no draft of it: those of a single model on this device."""
    return len(tiers) == 1 and tiers[0].place == "device" and len(tiers[0].members) == 1


@contextmanager
def waits_shown(cascade: Cascade) -> Iterator[Callable[[int, Said], None] | None]:
    """On a terminal, say which tier elsewhere is waited for until it has answered.

    Not where a person is asked meanwhile whether the query may leave: it would be drawn over that.

    Gives what wants to be told what each tier said, see `EdgeClient.stream`.
    """
    from rich.text import Text

    from escalade.cli.output import harmless, note_console

    console, guard = note_console(), cascade.guard
    if not console.is_terminal or (guard is not None and guard.waits_for_word):
        yield None
        return
    status = console.status("")

    def asked(index: int) -> None:
        status.stop()
        if index < len(cascade.tiers) and cascade.tiers[index].place != "device":
            status.update(Text(f"asking {harmless(cascade.tiers[index].name)}"))
            status.start()

    try:
        asked(0)
        yield lambda index, said: asked(index + 1 if said.defers else len(cascade.tiers))
    finally:
        status.stop()


def print_deltas(run: Run, *, as_draft: bool) -> None:
    """The device's answer as it comes, a line for each tier; Ctrl-C ends it between two tokens."""
    from escalade.cli.output import OF_TEXT, harmless, note_console, print_text

    console = note_console()
    begun = False
    try:
        for delta in run:
            begun = begun or bool(delta.text)
            if as_draft:
                ended = begun and delta.stop not in {None, "stopped_early"}
                text = harmless(delta.text, but=OF_TEXT) + "\n" * ended
                console.out(text, end="", style="dim", highlight=False)
                console.file.flush()
                begun = begun and not ended
            else:
                print_text(delta.text, end="")
    finally:
        if not as_draft:
            print_text("")
        elif begun:
            console.print()


def print_answer_json(answer: Answer, tiers: list[TierInfo]) -> None:
    """Everything that is known of an answer."""
    from escalade.cli.output import print_json

    print_json(
        {
            "answer": answer.text,
            "answered_by": answer.tier,
            "place": answer.given_at,
            "outcome": answer.outcome,
            "score": answer.score,
            "threshold": answer.threshold,
            "would_defer": answer.would_defer,
            "stop": answer.stop,
            "total_s": answer.total_s,
            "tiers": [
                {
                    "name": tier.name,
                    "place": tier.place,
                    "rule": tier.rule,
                    "threshold": tier.threshold,
                    "votes": _votes(tier, said),
                    "said": said,
                }
                for tier, said in zip(tiers, answer.tiers, strict=True)
            ],
            "reason": answer.reason,
            "blocked": answer.blocked,
            "trace_error": answer.trace_error,
            "kept": answer.kept,
            "outbox_error": answer.outbox_error,
        }
    )


def show_answer(answer: Answer, tiers: list[TierInfo], *, printed: bool = False) -> None:
    """The answer on stdout, unless it was printed as it came; how it came about on stderr."""
    from escalade.cli.output import note_console, print_text

    if not printed:
        print_text(answer.text)
    who = _called(tiers[answer.answered_by])
    if answer.given_at != answer.place:
        who = f"the {answer.given_at}, behind {who}"
    if answer.outcome == "degraded":
        who += ", degraded"
    elif answer.would_defer and len(tiers) == 1:
        who += "; with a tier above it would have been deferred"
    lines = [f"answered by {who}"]
    for tier, said in zip(tiers, answer.tiers, strict=True):
        if said is not None:
            lines += _tier_lines(_called(tier), tier, said)
    if answer.reason is not None and answer.outcome != "degraded":
        lines.append(f"passed over: {' '.join(answer.reason.split())}")
    lines.append(f"total {answer.total_s * 1e3:.1f} ms")
    note_console().print("\n".join(lines), style="dim")


def _called(tier: TierInfo) -> str:
    """A tier by its name, and where it is; `the device` where that is its name."""
    return f"the {tier.place}" if tier.name == tier.place else f"{tier.name} ({tier.place})"


def _votes(tier: TierInfo, said: TierAnswer | None) -> dict[str, int] | None:
    """Of a tier of several members, here or elsewhere."""
    from escalade.edge.tiers import votes_of

    alone = len(tier.members) == 1 if tier.place == "device" else not tier.side_by_side
    return None if said is None or alone else votes_of(said)


def _tier_lines(name: str, tier: TierInfo, said: TierAnswer) -> list[str]:
    name = name.removeprefix("the ")
    line = f"{name} {said.seconds * 1e3:.1f} ms"
    if said.link is not None:
        line += f", of it {said.link.server_s * 1e3:.1f} ms on the server"
    lines = []
    if said.score is not None:
        threshold = "not calibrated" if tier.threshold is None else f"{tier.threshold:.4f}"
        lines.append(f"{name}: score {_bound(tier, said)}{said.score:.4f}, threshold {threshold}")
    votes = _votes(tier, said)
    if votes is not None:
        told = ", ".join(f"{count} x {text!r}" for text, count in votes.items())
        lines.append(f"{name}: votes {told}")
        for one in said.members:
            if isinstance(one.failed, str):
                # Of one elsewhere the reason names its address.
                who = f"member {one.member + 1}"
                if tier.members:
                    who = f"{tier.members[one.member].name} ({who})"
                lines.append(f"{name}: {who} failed: {' '.join(one.failed.split())}")
    elif said.stopped_early:
        lines.append(f"{name}: stopped after {counted(said.members[0].generated_tokens, 'token')}")
    for hop in said.hops:
        if hop.reason:
            lines.append(f"  not {hop.tier} ({hop.place}): {' '.join(hop.reason.split())}")
            continue
        judged = ""
        if hop.score is not None and hop.threshold is not None:
            judged = f", score {hop.score:.4f}, threshold {hop.threshold:.4f}"
        lines.append(f"  through {hop.tier} ({hop.place}) {hop.seconds * 1e3:.1f} ms{judged}")
        if isinstance(hop.silent, list):
            lines += [f"  not in {hop.tier}: {one}" for one in hop.silent]
    return [line, *lines] if said.link is not None else [*lines, line]


def _bound(tier: TierInfo, said: TierAnswer) -> str:
    """What the score is where the answer, or the vote, was decided before its end."""
    if not said.stopped_early or said.score is None:
        return ""
    votes = _votes(tier, said)
    below = tier.threshold is None or said.score < tier.threshold
    return "at most " if votes is not None and below else "at least "
