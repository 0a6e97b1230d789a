"""The process that learns; serves nobody.

`python -m escalade.cli.learning LEARN.toml CASCADE.toml PID`: the gateway with that process id has
started it, and gives it a lower priority than its own; it ends with the gateway.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from escalade.cli.learning.publishing import publish, publish_untaught
from escalade.cli.learning.settings import LearnPlan
from escalade.cli.learning.supervising import Progress
from escalade.cli.process import quiet_third_party, unwind_on_signals
from escalade.edge.base import Clock, SystemClock
from escalade.edge.errors import EdgeError
from escalade.export.errors import ExportError
from escalade.training.errors import TrainingError
from escalade.training.online import Follower

_POLL_S = 0.2
# Between two checkpoints, where fewer entries came than make a version.
_SAVE_S = 30.0


def follow(
    plan: LearnPlan, clock: Clock, say: Callable[[Progress], None], ends: Callable[[], bool]
) -> None:
    """Learn from a feed, and publish what was learned, until told to end.

    Args:
        plan: what and where.
        clock: see `Clock`.
        say: told how far it is, the first time when every store has a version.
        ends: asked between entries that came together.

    Raises:
        RecipeError: the settings do not fit what was learned before.
        TrainingError, EdgeError, ExportError: the feed or the checkpoint cannot be read or
            written, or a first version cannot be made.
    """
    settings = plan.settings
    follower = Follower(
        plan.configuration, plan.feed, plan.checkpoint, window=settings.window, clock=clock
    )
    publish_untaught(plan, follower)
    progress, unpublished, unsaved, saved_s = Progress(), 0, 0, clock.now_s()
    say(progress := _so_far(progress, follower))
    while True:
        count = follower.take(settings.publish_items - unpublished)
        unpublished, unsaved = unpublished + count, unsaved + count
        due = unpublished >= settings.publish_items or follower.alarmed
        if due:
            unpublished = 0
            try:
                publish(plan, follower)
                progress = msgspec.structs.replace(
                    progress, versions=progress.versions + 1, published=follower.taken
                )
            except (EdgeError, ExportError) as error:
                # Such as a full disk: what is served goes on, and the next one may do.
                sys.stdout.write(f"no version was published: {error}\n")
                progress = msgspec.structs.replace(progress, failures=progress.failures + 1)
        # After the version: who dies between the two makes it once more.
        if unsaved and (due or clock.now_s() - saved_s >= _SAVE_S):
            follower.save()
            unsaved, saved_s = 0, clock.now_s()
        say(progress := _so_far(progress, follower))
        if ends():
            return
        if not count:
            clock.sleep_s(_POLL_S)


def _so_far(progress: Progress, follower: Follower) -> Progress:
    return msgspec.structs.replace(
        progress, taken=follower.taken, learned=follower.learned, unparsed=follower.unparsed
    )


def main() -> None:
    """Run until the process that started this one has ended."""
    quiet_third_party()
    os.environ.setdefault("TQDM_DISABLE", "1")  # bars of libraries are no lines
    # Of a terminal, it is the gateway's: whoever started this ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    unwind_on_signals()
    parent = int(sys.argv[3])
    try:
        plan = LearnPlan(Path(sys.argv[1]), Path(sys.argv[2]))
        follow(plan, SystemClock(), _tell(), lambda: os.getppid() != parent)
    except (EdgeError, ExportError, TrainingError) as error:
        sys.exit(" ".join(str(error).split()))


def _tell() -> Callable[[Progress], None]:
    last: list[Progress] = []

    def say(progress: Progress) -> None:
        if [progress] != last:
            sys.stdout.write(msgspec.json.encode(progress).decode() + "\n")
            sys.stdout.flush()
            last[:] = [progress]

    return say


if __name__ == "__main__":
    main()
