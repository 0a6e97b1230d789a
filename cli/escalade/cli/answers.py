"""How `escalade ask` shows an answer: as it comes, in words, as JSON; knows no model."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from escalade.edge import Answer
    from escalade.edge.turn import Turn


def print_pieces(turn: Turn, *, as_draft: bool) -> None:
    """The device's answer as it comes. Ctrl-C ends it between two tokens, and the line."""
    from escalade.cli.output import harmless, note_console, print_text

    console = note_console()
    begun = False
    try:
        for piece in turn:
            if not piece.text:
                continue
            begun = True
            if as_draft:
                text = harmless(piece.text, but="\n\t")
                console.out(text, end="", style="dim", highlight=False)
                console.file.flush()
            else:
                print_text(piece.text, end="")
    finally:
        if not as_draft:
            print_text("")
        elif begun:
            console.print()


def print_answer_json(answer: Answer) -> None:
    """Everything that is known of an answer."""
    from escalade.cli.output import print_json

    print_json(
        {
            "answer": answer.text,
            "answered_by": answer.answered_by,
            "outcome": answer.outcome,
            "score": answer.score,
            "threshold": answer.threshold,
            "would_defer": answer.would_defer,
            "stop": answer.stop,
            "total_s": answer.total_s,
            "small": answer.small,
            "large": answer.large,
            "votes": answer.votes,
            "reason": answer.reason,
            "trace_error": answer.trace_error,
        }
    )


def show_answer(answer: Answer, *, asked_cloud: bool, printed: bool = False) -> None:
    """The answer on stdout, unless it was printed as it came; how it came about on stderr."""
    from escalade.cli.output import note_console, print_text

    if not printed:
        print_text(answer.text)
    threshold = "not calibrated" if answer.threshold is None else f"{answer.threshold:.4f}"
    who = {
        "answered": "the device",
        "deferred": "the cloud",
        "degraded": "the device, degraded",
    }[answer.outcome]
    if answer.outcome == "answered" and answer.would_defer and not asked_cloud:
        who += "; with --cloud it would have been deferred"
    small = answer.small
    bound = "at least " if small.stopped_early else ""
    lines = [f"answered by {who}", f"score {bound}{answer.score:.4f}, threshold {threshold}"]
    if answer.votes is not None:
        said = (f"{count} x {text!r}" for text, count in answer.votes.items())
        lines.append(f"votes: {', '.join(said)}")
    if small.stopped_early:
        lines.append(f"the device stopped after {small.generated_tokens} tokens")
    lines.append(f"device {small.generate_s * 1e3:.1f} ms, total {answer.total_s * 1e3:.1f} ms")
    if answer.large is not None:
        lines.append(
            f"cloud {answer.large.round_trip_s * 1e3:.1f} ms, of it"
            f" {answer.large.server_s * 1e3:.1f} ms on the server"
        )
    note_console().print("\n".join(lines), style="dim")
