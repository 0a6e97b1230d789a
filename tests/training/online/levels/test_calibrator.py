"""Calibrators: torch's own gradient and Adam on the same loss, and what they come to decide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from escalade.training.online.levels import Calibrators, CalibratorSettings
from escalade.training.online.levels.level import Floats

CLASSES, MU = 3, 4e-4
SETTINGS = [CalibratorSettings(0.4, 7e-4, 1.0), CalibratorSettings(0.3, 1e-3, 1182.0)]


def _stream(count: int, seed: int = 1) -> list[tuple[list[Floats], int]]:
    draw = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        label = int(draw.integers(CLASSES))
        said = [np.log(draw.dirichlet(np.eye(CLASSES)[label] * size + 0.3)) for size in (1, 3)]
        made.append(([np.maximum(one, np.log(1e-12)) for one in said], label))
    return made


class _Reference(torch.nn.Module):
    """One calibrator as the authors' code has it."""

    def __init__(self, weights: dict[str, Floats]) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Linear(CLASSES, 128), torch.nn.Linear(128, 1)
        self.double()
        named = (self.first.weight, "w1"), (self.first.bias, "b1"), (self.second.bias, "b2")
        with torch.no_grad():
            for parameter, name in named:
                parameter.copy_(torch.from_numpy(weights[name]))
            self.second.weight.copy_(torch.from_numpy(weights["w2"])[None])

    def forward(self, probabilities: Tensor) -> Tensor:
        return torch.sigmoid(self.second(torch.relu(self.first(probabilities))))[0]


@pytest.mark.parametrize("warm", [False, True])
def test_a_step_is_torchs_step_on_the_loss_of_the_paper(warm: bool) -> None:
    ours = Calibrators(CLASSES, SETTINGS, mu=MU, replay=0, seed=5)
    theirs = [
        _Reference(
            {
                name.split(".")[2]: array
                for name, array in ours.state().items()
                if name.startswith(f"{k}.weights")
            }
        )
        for k in range(2)
    ]
    optimizers = [
        torch.optim.Adam(one.parameters(), lr=s.learning_rate)
        for one, s in zip(theirs, SETTINGS, strict=True)
    ]
    for said, label in _stream(60):
        loss, reach = torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64)
        for k, settings in enumerate(SETTINGS):
            share = theirs[k](torch.from_numpy(np.exp(said[k])))
            target = min(float(said[k].argmax() != label) + settings.calibration * warm, 1.0)
            squares = sum((p**2).sum() for p in theirs[k].parameters())
            cost = (1 - share) * -said[k][label] + share * MU * settings.next_cost
            loss = loss + (share - target) ** 2 + 1e-4 * squares + reach * cost
            reach = reach * share
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
        ours.learn(said, label, warm=warm)
    for said, _ in _stream(20, seed=2):
        for k in range(2):
            wanted = theirs[k](torch.from_numpy(np.exp(said[k]))).item()
            assert ours.deferral(k, said[k]) == pytest.approx(wanted, rel=1e-9)


def test_it_comes_to_defer_where_a_level_is_unsure_and_less_where_that_costs_more() -> None:
    def deferred(mu: float) -> tuple[float, float]:
        calibrators = Calibrators(CLASSES, SETTINGS[1:], mu=mu, replay=0, seed=1)
        for said, label in _stream(1500):
            calibrators.learn(said[:1], label, warm=True)
        sure = np.log(np.array([0.98, 0.01, 0.01]))
        return calibrators.deferral(0, sure), calibrators.deferral(0, np.log(np.full(3, 1 / 3)))

    sure, unsure = deferred(3e-4)
    assert sure < 0.5 < unsure
    assert deferred(2e-3)[1] < unsure


def test_it_goes_on_from_its_state_bit_for_bit() -> None:
    one, other = (Calibrators(CLASSES, SETTINGS, mu=MU, replay=4, seed=seed) for seed in (2, 2))
    for said, label in _stream(30):
        one.learn(said, label, warm=False)
    other.restore({name: array.copy() for name, array in one.state().items()})
    for calibrators in (one, other):
        for said, label in _stream(30, seed=3):
            calibrators.learn(said, label, warm=True)
    for name, array in one.state().items():
        np.testing.assert_array_equal(other.state()[name], array)
