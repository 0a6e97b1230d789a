"""Which process of the study makes which round, and when; knows no loss and no statistic."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from benchmarks.study.jobs import Share
from benchmarks.study_three.arms import ROUNDS, Round, Settings, rounds
from benchmarks.study_three.recipes import cache_path, teachers_of, teaches
from benchmarks.study_three.training import SPLITS, answers_path, run, say
from filelock import FileLock, Timeout

from escalade.training.losses import looked_at


def work(settings: Settings, share: Share) -> None:
    """One process's part: whatever is neither done nor under way, once what it needs is there."""
    waiting = [(seed, one) for seed in settings.seeds for one in rounds()]
    while waiting := [task for task in waiting if not _is_done(settings, *task)]:
        busy: list[FileLock] = []
        for seed, one in waiting:
            lock = FileLock(settings.folder(seed, f"{one.name}.lock"))
            Path(lock.lock_file).parent.mkdir(parents=True, exist_ok=True)
            try:
                with lock.acquire(timeout=0):
                    if _is_done(settings, seed, one):  # meanwhile
                        break
                    if not _is_ready(settings, seed, one):
                        continue
                    started = time.time()
                    run(settings, one, seed, steps=settings.steps)
                    say(f"{share.number}: seed {seed}, {one.name}: {time.time() - started:.0f} s")
                    break
            except Timeout:
                busy.append(lock)
        else:
            if not busy:
                sys.exit(f"study_three: {settings.out} lacks what all seeds share; begin again")
            with busy[0]:  # another process has it; then something may be ready
                pass


def _is_done(settings: Settings, seed: int, one: Round) -> bool:
    folder = settings.folder(seed, one.name)
    needed = [folder / "metrics.json"]
    if one.number in (0, ROUNDS):
        needed += [answers_path(folder, split) for split in SPLITS]
    if teaches(one):
        needed.append(cache_path(settings, folder))
    return all(path.exists() for path in needed)


def _is_ready(settings: Settings, seed: int, one: Round) -> bool:
    """Whether the rounds that one needs are done."""
    needed = []
    if one.start is not None:
        needed.append(settings.folder(seed, one.start) / "metrics.json")
    teachers = teachers_of(settings, seed, one)
    looked = looked_at(one.loss, one.alpha, len(teachers))
    needed += [cache_path(settings, teachers[place]) for place in looked]
    return all(path.exists() for path in needed)
