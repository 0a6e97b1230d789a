"""What became of a version, in lines for people; knows no part but the shape of the result."""

from __future__ import annotations

from escalade.cli.improvement.improving import Improved
from escalade.edge.base import counted

_WORDS = {
    "deferred": "deferred to the expert",
    "audited": "audited",
    "kept": "kept without asking it",
    "degraded": "degraded",
    "cut": "with an answer that is cut",
    "other_expert": "answered by another expert",
    "repeated": "with a prompt that came before",
}


def improved_lines(improved: Improved) -> list[str]:
    """A few lines of what was heard, learned and published."""
    heard = improved.heard
    ways = ", ".join(f"{heard[key]} {words}" for key, words in _WORDS.items() if heard[key])
    lines = [f"{counted(heard['queries'], 'query')}: {ways}"]
    if improved.version is None or (made := improved.figures) is None:
        return [*lines, f"nothing new: version {improved.known} has learned from the same"]
    beside = f" and {made.replayed} old ones" if made.replayed else ""
    asked = f", {made.asked} of them the expert was asked now" if made.asked else ""
    lines.append(f"trained on {counted(made.examples, 'answer')} of the expert{beside}")
    lines.append(
        f"calibrated on {counted(made.calibrated, 'query')}{asked}: threshold {made.threshold:.4f}"
    )
    lines += [f"left out, the expert gave no whole answer: {made.unanswered}"] * bool(
        made.unanswered
    )
    for name, side in (("before", made.before), ("now", made.now)):
        lines.append(
            f"{name}: defers {side.deferral_rate:.1%} of {counted(made.checked, 'query')};"
            f" {side.agreement:.1%} of all answers are the expert's, of the model's own"
            f" {side.own_agreement:.1%}"
        )
    lines.append(f"current is {improved.version[:12]}, was {improved.before[:12]}")
    return lines
