"""The fewest replicas that are enough, and a fleet that is tried again and again."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from escalade.edge.trace import Trace, write_trace
from escalade.simulator.fleet import Trials, fewest, read_spec, run_spec

FLEET = """
seconds = 300
warm_up_s = 20
[cloud]
replicas = 4
queue = 6
[retries]
deadline_s = 0
[[groups]]
name = "phones"
count = 4000
profile = "coe-10ms"
trace = "t.jsonl"
thresholds = [{threshold}]
arrivals = {{ kind = "poisson", per_hour = 60 }}
[[groups]]
name = "others"
count = 100
profile = "lan"
answers = {{ device_s = 0.1, cloud_s = 0.05, deferral_rate = 0.5 }}
arrivals = {{ kind = "poisson", per_hour = 60 }}
"""


@pytest.mark.parametrize("seed", range(200))
def test_the_fewest_are_found_from_wherever_one_begins(seed: int) -> None:
    """What is missed falls, to nothing or to what no number helps; what is allowed rises."""
    rng = np.random.default_rng(seed)
    least, most = int(rng.integers(1, 5)), int(rng.integers(5, 60))
    falls = rng.random() + 0.01
    floor = rng.choice([0.0, 0.3])
    rises = rng.choice([0.0, 0.05])
    tried = []

    def missed(many: int) -> float:
        tried.append(many)
        return math.inf if many < least + 1 else max(floor, 1.0 - falls * (many - least))

    def allowed(many: int) -> float:
        return float(max(0.0, rises * (many - 10)))

    found = fewest(least, most, missed, allowed, guess=int(rng.integers(0, 70)))
    worst = [max(missed(many), allowed(many)) for many in range(least, most + 1)]
    assert found == least + worst.index(min(worst))
    assert all(least <= many <= most for many in tried)


def test_each_number_is_tried_once_and_a_good_guess_needs_two() -> None:
    tried = []

    def missed(many: int) -> float:
        tried.append(many)
        return max(0.0, 37.0 - many)

    assert fewest(1, 1000, missed, guess=37) == 37
    assert sorted(tried) == [36, 37]
    tried.clear()
    assert fewest(1, 1000, missed) == 37
    assert len(tried) == len(set(tried)) < 13


def test_a_trial_is_a_run_of_the_fleet_under_other_thresholds_and_replicas(
    tmp_path: Path, make_trace: Callable[..., Trace]
) -> None:
    """As `escalade fleet` runs it, from the file; with a queue so short that some are refused."""
    rng = np.random.default_rng(3)
    trace = make_trace(rng.random(80).tolist(), [True] * 80, [True] * 80)
    write_trace(tmp_path / "t.jsonl", trace.header, trace.records)
    path = tmp_path / "fleet.toml"
    path.write_text(FLEET.format(threshold=0.9))
    trials = Trials(read_spec(path), tmp_path, trace, ["phones"], seed=5)
    for threshold, replicas, run in ((0.3, 2, 0), (0.7, 1, 1), (0.3, 1, 1)):
        took = trials.run([threshold], replicas, run)
        text = FLEET.format(threshold=threshold).replace("= 4\n", f"= {replicas}\n")
        path.write_text(text)
        found = run_spec(read_spec(path), tmp_path, seed=5 + run).report
        row = found.groups[0]
        one = took["phones"]
        assert list(took) == ["phones"]
        assert one.degraded == pytest.approx(row.degraded / row.queries)
        assert row.latency is not None
        assert row.latency_deferred is not None
        # Of those that their gate meant; here a degraded query's answer is there at once.
        if not row.degraded:
            assert (one.p50_s, one.p95_s, one.p99_s) == (
                row.latency.p50,
                row.latency.p95,
                row.latency.p99,
            )
            assert one.mean_s == pytest.approx(row.latency.mean)
        else:
            assert one.p99_s == (math.inf if one.degraded > 0.01 else one.p99_s)
        if not row.degraded:
            at_work = found.cloud.utilisation * replicas
            assert trials.load([threshold], run) == pytest.approx(at_work, rel=0.1)
    assert one.degraded > 0
