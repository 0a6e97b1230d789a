"""Which prompts train and which calibrate: never both, now or later."""

from __future__ import annotations

from escalade.edge.base import Record
from escalade.training.improvement.dividing import divide, replayed
from escalade.training.improvement.heard import Heard

SHARE = 0.2


def prompts(count: int, *, answered: bool = True) -> list[Heard]:
    return [Heard("t", f"prompt {n}", f"answer {n}" if answered else None) for n in range(count)]


def test_sides_are_disjoint_of_the_share_and_the_same_while_more_come() -> None:
    few, many = divide(prompts(1000), SHARE, 10**6), divide(prompts(3000), SHARE, 10**6)
    for divided, count in ((few, 1000), (many, 3000)):
        train = {one.prompt for one in divided.train}
        calibrate = {one.prompt for one in divided.calibrate}
        assert train.isdisjoint(calibrate)
        assert len(train) + len(calibrate) == count
        assert abs(len(calibrate) / count - SHARE) < 0.05
    assert {one.prompt for one in few.train} <= {one.prompt for one in many.train}
    assert {one.prompt for one in few.calibrate} <= {one.prompt for one in many.calibrate}
    ids = [one.id for one in [*many.train, *many.calibrate]]
    assert len(set(ids)) == len(ids)


def test_calibrating_prompts_are_limited_and_the_others_do_not_train() -> None:
    whole, some = divide(prompts(1000), SHARE, 10**6), divide(prompts(1000), SHARE, 50)
    assert some.train == whole.train
    assert some.calibrate == whole.calibrate[:50]


def test_a_prompt_without_an_answer_may_calibrate_and_never_trains() -> None:
    divided = divide(prompts(1000, answered=False), SHARE, 10**6)
    assert divided.train == []
    assert divided.calibrate
    assert all(one.references == [] for one in divided.calibrate)


def test_old_records_are_of_the_share_and_on_no_other_side() -> None:
    heard = prompts(1000)
    divided = divide(heard, SHARE, 10**6)
    old = [
        Record(id=str(n), task="t", prompt=f"prompt {n}", references=["old"])
        for n in range(500, 4000)
    ]
    drawn = replayed(old, divided.train, SHARE, 0.25, seed=1)
    assert abs(len(drawn) - len(divided.train) / 3) <= 1
    again = divide([Heard("t", one.prompt, "old") for one in drawn], SHARE, 10**6)
    assert again.calibrate == []
    assert {one.prompt for one in drawn}.isdisjoint(one.prompt for one in divided.train)
    assert drawn == replayed(old, divided.train, SHARE, 0.25, seed=1)
    assert drawn != replayed(old, divided.train, SHARE, 0.25, seed=2)
    assert len(replayed(old[:600], divided.train, SHARE, 0.9, seed=1)) < 600
