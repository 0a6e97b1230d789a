"""The process that learns; serves nobody.

`python -m escalade.cli.learning LEARN.toml CASCADE.toml PID`: it has a lower priority than the
gateway with that process id, which started it, and ends with it.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from escalade.cli.learning.publishing import publish
from escalade.cli.learning.settings import LearnPlan
from escalade.cli.learning.supervising import Progress
from escalade.edge.base import Clock, SystemClock
from escalade.edge.errors import EdgeError
from escalade.export.errors import ExportError
from escalade.training.errors import TrainingError
from escalade.training.online import Follower

# Of the scheduler: serving goes first on a machine that is busy.
_NICE = 19
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
        say: told how far it is.
        ends: asked between entries that came together.

    Raises:
        TrainingError, EdgeError: the feed or the checkpoint cannot be read or written.
    """
    settings = plan.settings
    follower = Follower(
        plan.configuration, plan.feed, plan.checkpoint, window=settings.window, clock=clock
    )
    progress, unpublished, unsaved, saved_s = Progress(), 0, 0, clock.now_s()
    while True:
        count = follower.take(settings.publish_items - unpublished)
        unpublished, unsaved = unpublished + count, unsaved + count
        due = unpublished >= settings.publish_items
        if unsaved and (due or clock.now_s() - saved_s >= _SAVE_S):
            follower.save()
            unsaved, saved_s = 0, clock.now_s()
        if due:
            unpublished = 0
            try:
                publish(plan, follower)
                progress = msgspec.structs.replace(progress, versions=progress.versions + 1)
            except (EdgeError, ExportError) as error:
                # Such as a full disk: what is served goes on, and the next one may do.
                sys.stdout.write(f"no version was published: {error}\n")
                progress = msgspec.structs.replace(progress, failures=progress.failures + 1)
        progress = msgspec.structs.replace(
            progress,
            taken=follower.taken,
            learned=follower.learned,
            unparsed=follower.unparsed,
        )
        say(progress)
        if ends():
            return
        if not count:
            clock.sleep_s(_POLL_S)


def main() -> None:
    """Run until the process that started this one has ended."""
    os.nice(_NICE)
    # Of a terminal, it is the gateway's: whoever started this ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
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
