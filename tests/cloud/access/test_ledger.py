"""What clients have used up is known after a restart, and no file of it is a way in."""

from __future__ import annotations

import asyncio
import logging
import stat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escalade.cloud.access import AccessOptions, Limits
from escalade.cloud.access.gate import make_gate
from escalade.cloud.access.ledger import Ledger
from escalade.cloud.access.limits import Quotas
from escalade.cloud.errors import QuotaExceededError, StartError
from escalade.v1 import cascade_pb2 as pb

INFO = pb.GetModelInfoRequest()
PROMPT = pb.GenerateRequest(prompt=pb.Prompt(text="w01"))
DAY_S = 86_400


class Wall:
    """Unix seconds that pass when told to."""

    now_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now_s


def wait_of(quotas: Quotas, owner: str) -> float:
    """How long a client is told to wait; 0 where it is let in."""
    try:
        quotas.admit(owner)
    except QuotaExceededError as refusal:
        return refusal.retry_after_s
    return 0.0


@given(
    a_day=st.integers(1, 10_000),
    charged=st.dictionaries(st.sampled_from("abc"), st.integers(0, 30_000), min_size=1),
    down_s=st.floats(0, 3 * DAY_S),
)
def test_a_restart_changes_nobodys_wait(a_day: int, charged: dict[str, int], down_s: float) -> None:
    wall, now_s = Wall(), 50.0
    one = Quotas(Limits(tokens_per_day=a_day), lambda: now_s)
    for owner, tokens in charged.items():
        one.admit(owner)
        one.charge(owner, tokens)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "quotas.json"
        Ledger(path, wall).write(one.owing())
        wall.now_s += down_s
        begun = Ledger(path, wall).begun
    # Another process has another monotonic clock.
    other = Quotas(Limits(tokens_per_day=a_day), lambda: 7.0, begun)
    now_s += down_s
    for owner in charged:
        left_s = one.owing().get(owner, 0.0)
        assert other.owing().get(owner, 0.0) == pytest.approx(left_s, abs=1.0)
        assert wait_of(other, owner) == pytest.approx(wait_of(one, owner), abs=1.0)


def test_a_server_that_starts_again_knows_who_has_used_up_his_day(
    serving: Any, engine: Any, refused: Any, tmp_path: Path
) -> None:
    path = tmp_path / "quotas.json"
    access = AccessOptions(limits=Limits(tokens_per_day=1), quota_file=path)

    async def main() -> list[Any]:
        async with serving(engine, access=access) as running:
            assert (await running.stub.Generate(PROMPT)).token_ids
            before = await refused(running.stub.GetModelInfo(INFO))
        async with serving(engine, access=access) as running:
            after = await refused(running.stub.GetModelInfo(INFO))
        path.unlink()
        async with serving(engine, access=access) as running:
            assert await running.stub.GetModelInfo(INFO)
        return [before, after]

    before, after = asyncio.run(main())
    assert before.reason == after.reason == "QUOTA_EXCEEDED"
    # Its day goes on, in whole seconds.
    assert after.retry_delay_s == pytest.approx(before.retry_delay_s, abs=30.0)
    assert after.retry_delay_s > DAY_S


def test_it_is_written_while_the_server_runs(tmp_path: Path, clock: Any) -> None:
    path = tmp_path / "quotas.json"
    access = AccessOptions(limits=Limits(tokens_per_day=10), quota_file=path)

    async def main() -> None:
        gate = make_gate(access, certificates=False, request_s=1.0, clock=clock)
        assert gate is not None
        gate.quotas.admit("phone")
        gate.quotas.charge("phone", 5)
        keeping = asyncio.create_task(gate.keep_ledger(every_s=0.001))
        async with asyncio.timeout(60):
            while b"phone" not in path.read_bytes():
                await asyncio.sleep(0.001)
        keeping.cancel()

    asyncio.run(main())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in tmp_path.iterdir()] == ["quotas.json"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is none of ours"),
        ("[1]", "is none of ours"),
        ('{"phone": "soon"}', "is none of ours"),
        ('{"phone": 1e999}', "is none of ours"),
        ('{"phone": 1e300}', "is none of ours"),
        ('{"phone": -1}', "is none of ours"),
        ('{"phone": 1', "is none of ours"),
        (None, "Is a directory"),
    ],
)
def test_a_file_that_is_something_else_does_not_start(
    tmp_path: Path, content: str | None, says: str
) -> None:
    path = tmp_path / "quotas.json"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    with pytest.raises(StartError) as failure:
        Ledger(path)
    assert str(failure.value).startswith(f"quota file {path}: {says}")
    assert "\n" not in str(failure.value)
    assert content is None or path.read_text() == content


def test_a_place_where_none_can_be_written_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="No such file or directory"):
        Ledger(tmp_path / "nowhere" / "quotas.json")


def test_a_disk_that_fails_later_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    ledger = Ledger(folder / "quotas.json")
    (folder / "quotas.json").unlink()
    folder.rmdir()
    with caplog.at_level(logging.WARNING, "escalade"):
        for seconds in (50.0, 90.0):
            ledger.write({"phone": seconds})
        [once] = caplog.records
        folder.mkdir()
        ledger.write({"phone": 5.0})
    assert "cannot be written: No such file" in once.getMessage()
    assert b"phone" in (folder / "quotas.json").read_bytes()


def test_a_file_for_nothing_is_refused(tmp_path: Path, clock: Any) -> None:
    access = AccessOptions(
        limits=Limits(requests_per_minute=5), quota_file=tmp_path / "quotas.json"
    )
    with pytest.raises(StartError, match="nobody has a limit of tokens a day"):
        make_gate(access, certificates=False, request_s=1.0, clock=clock)
