# ruff: noqa: E501 - the page's own lines, with numbers to be filled in
"""The words of docs/results-three-tiers.md around its tables; computes no statistic."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from typing import TYPE_CHECKING

from benchmarks.study.report import grid, machine
from benchmarks.study.text import points, saved, word
from benchmarks.study_three.arms import ROUNDS, Settings
from benchmarks.study_three.contrasts import RESAMPLES, level

if TYPE_CHECKING:
    from benchmarks.study_three.report import Found

#: What the page asks, and the pair that answers.
QUESTIONS = (
    ("Three tiers, `any` against Xent", ("any", "xent")),
    ("Three tiers, `last` against Xent", ("last", "xent")),
    ("Three tiers, `next` against Xent", ("next", "xent")),
    ("Three tiers, `soft` against Xent", ("soft", "xent")),
    ("Medium trained by CAT, small by Xent, against Xent", ("xent, medium by cat", "xent")),
    ("Alpha: `next` against `last`", ("next", "last")),
    ("Alpha: `any` against `last`", ("any", "last")),
    ("Alpha: `soft` against `last`", ("soft", "last")),
    ("Alpha: `any` against `next`", ("any", "next")),
    ("Alpha: `soft` against `any`", ("soft", "any")),
    ("Order: medium after small, against before", ("any, after", "any")),
    ("Order: alternating, against before", ("any, alternating", "any")),
    ("Three tiers by CAT (`any`) against two by CAT", ("any", "two tiers, cat")),
    ("Three tiers by CAT (`last`) against two by CAT, the same small model", ("last", "two tiers, cat")),
    ("Three tiers by Xent against two by Xent", ("xent", "two tiers, xent")),
    ("Two tiers, CAT against Xent", ("two tiers, cat", "two tiers, xent")),
)  # fmt: skip


def page(settings: Settings, found: Found) -> str:
    """The whole page."""
    sizes, steps = found.parameters, ROUNDS * settings.steps
    more = (
        "\n  With few seeds intervals are too narrow rather than too wide."
        if len(found.seeds) > 1
        else "\n  One seed says nothing of others, and intervals are over queries alone."
    )
    return f"""# Results for three tiers

Cascade-aware training asks of one large model which tokens a small one should learn from. Where a
medium model stands between, the paper leaves open what to ask (its section 6). This page is what the
bundled tasks say. It is written by

<!-- not run: an hour and more of training -->

    .venv/bin/python -m benchmarks.study_three --steps {settings.steps} --seeds {len(found.seeds)}

and no number in it is typed by hand. With more `--seeds` the command goes on where it was; other
`--steps` begin anew, in a folder of their own (`--out`).

- Sizes: {sizes["small"]:,}, {sizes["medium"]:,} and {sizes["large"]:,} parameters. Small starts from
  `training/checkpoints/small-base`. Medium is cut out of large ({len(settings.medium_layers)} of its
  layers, {settings.medium_width} of 512 neurons in each) and first trained by plain cross-entropy,
  {settings.base_steps} steps, once for all seeds; its errors may be more like large's for that.
  Which of its layers are kept was settled in short trials, by validation loss.
  Large is `training/checkpoints/large`, which learned from the same training split.
- Small and medium then learn in {ROUNDS} rounds of {settings.steps} steps of {settings.batch_size}
  examples each, {steps} steps together, every arm the same; [results.md](results.md) takes 1,000 in
  one round. Learning rate {settings.learning_rate:g}, that of the most right answers on the
  validation split by small's plain cross-entropy (`python -m benchmarks.study_three --pilot`), of
  one round of 250 steps;
  {settings.train_queries:,} training queries.
- {_count(len(found.seeds), "seed")}; a seed changes the order of the examples.{more}
  {found.queries:,} queries of the test split; nothing was chosen by them. Greedy decoding, torch, float32, {machine()}.
- Thresholds of both gates are set together on 1,000 validation queries, as `escalade calibrate`
  does for `--budget-flops`: most right answers at each of 12 mean costs between small's and
  large's. On the test queries the thresholds stay as they are.
- Quality is exact match over the four tasks together. Cost is FLOPs a token, 2 x parameters of every
  model that a query came to. Area is the mean quality over all costs between small's and large's.
  In brackets: 95 % intervals, over queries{" and seeds" if len(found.seeds) > 1 else ""} ({RESAMPLES:,} resamples); that thresholds
  would be others on other validation queries is not in them. Not adjusted for the number of
  comparisons.

## What it says

{_verdicts(found)}

With so many comparisons one in twenty is expected to show a difference where there is none.

## What is compared

Alpha is 1 where a token counts in small's loss, `cat-xent` (equation 7 with w = 1). s: small's argmax
is the label; m, l: medium's, large's.

| alpha | a token counts | small's tokens left out |
| --- | --- | ---: |
| `xent` | always | {_share(found.filtered, "small-xent-22")} |
| `last` | s or l | {_share(found.filtered, "small-last-22")} |
| `next` | s or m | {_share(found.filtered, "small-next-22")} |
| `any` | s or m or l | {_share(found.filtered, "small-any-22")} |
| `soft` | (s + m + l) / 3 | {_share(found.filtered, "small-soft-22")} |

Medium's one teacher is large, so that `any`, `next` and `last` are the same for it. Small never
teaches medium. The order of training decides which medium model small sees:

- before: medium is finished first; small sees it finished. All arms without another word.
- after: medium is trained last; small sees it as it began.
- alternating: small, medium, small, medium, a round each; small sees medium as it began, then as it is
  after its first round.

Two tiers are small and large. Two-tier CAT's small model is `last`, which never looks at medium.

## Models alone

{_alone(found)}

## Against plain cross-entropy

{_contrasts(found, [pair for pair in found.contrasts if pair[1] == "xent"])}

Saved: FLOPs at {found.target:.1%} right answers, midway between small and large alone.

## Against each other

{_contrasts(found, [pair for pair in found.contrasts if pair[1] != "xent"])}

## Quality at each cost

Right answers on the test queries, mean over seeds, with the thresholds that the validation queries
give, on the lines between those.

{_qualities(found, ("xent", "any", "two tiers, cat"))}

## The surface

The `any` cascade, seed {found.seeds[0]}. Rows: what small's gate sends on, of all queries, and medium's, of those
that come to it, on the validation queries.

{_surface(found)}

## Seed by seed

Area, of each seed:

{_seeds(found)}
"""


def _verdicts(found: Found) -> str:
    lines = []
    for question, pair in QUESTIONS:
        one = found.contrasts[pair]
        lines.append(
            f"- {question}: **{word(one.area)}**. Area {points(one.area)} points; {saved(one.saved)} at"
            " equal quality."
        )
    return "\n".join(lines)


def _alone(found: Found) -> str:
    rows = [
        (f"`{name}`", f"{statistics.mean(each):.1%}", ", ".join(f"{one:.1%}" for one in each))
        for name, each in found.alone.items()
    ]
    return grid(("model", "right", "each seed"), rows)


def _contrasts(found: Found, pairs: Iterable[tuple[str, str]]) -> str:
    rows = []
    for pair in pairs:
        one = found.contrasts[pair]
        p = "-" if one.p is None else f"{one.p:.3f}"
        rows.append(
            (pair[0], pair[1], points(one.area), p, saved(one.saved).removesuffix(" FLOPs saved"))
        )
    return grid(("cascade", "against", "area, points", "p", "saved"), rows)


def _qualities(found: Found, names: tuple[str, ...]) -> str:
    rows = [
        (_mega(most), *(f"{found.qualities[name][at]:.1%}" for name in names))
        for at, most in enumerate(found.budgets)
    ]
    return grid(("MFLOPs", *names), rows)


def _surface(found: Found) -> str:
    rows = [
        (f"{first:.0%}", f"{second:.0%}", _mega(cost), f"{quality:.1%}")
        for first, second, cost, quality in found.surface
    ]
    return grid(("small sends on", "medium sends on", "MFLOPs", "right"), rows)


def _seeds(found: Found) -> str:
    rows = []
    for name, numbers in found.numbers.items():
        area = level(numbers.area)
        each = ", ".join(f"{one:.2%}" for one in numbers.each)
        rows.append((name, f"{area.value or 0:.2%}", each))
    return grid(("cascade", "mean", "each"), rows)


def _share(shares: dict[str, float], name: str) -> str:
    return f"{shares[name]:.1%}"


def _mega(cost: float) -> str:
    return f"{cost / 1e6:.2f}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" + ("" if number == 1 else "s")
