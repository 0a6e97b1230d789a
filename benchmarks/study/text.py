# ruff: noqa: E501 - the page's own lines, with numbers to be filled in
"""The words of docs/results.md around its tables; knows no trace and computes no statistic."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.study.arms import Settings

from escalade.edge.trace import MemberInfo
from escalade.simulator.evaluation import Contrast, Estimate, Evaluation

Tables = Mapping[str, Mapping[str, str]]


def page(
    *,
    settings: Settings,
    machine: str,
    small: MemberInfo,
    large: MemberInfo,
    found: Mapping[str, Evaluation],
    tables: Tables,
    parts: str,
    parts_gained: str,
    speed: str,
    filtered: str,
) -> str:
    """The whole page."""
    main = found["main"]
    queries = main.slices[0].queries
    sections = [
        f"""# Results

What cascade-aware training does on the bundled tasks. This page is written by `make study`;
no number in it is typed by hand.

- Small model: {small.parameters:,} parameters. Every run starts from `training/checkpoints/small-base`
  and takes {settings.steps} steps of {settings.batch_size} examples, learning rate {settings.learning_rate:g}
  (chosen on the validation split with plain cross-entropy: `python -m benchmarks.study --pilot`),
  w = {settings.w:g} (the paper's), on {settings.train_queries:,} training queries.
- Large model: {large.parameters:,} parameters, `training/checkpoints/large`, the same for all. It
  learned from the same training split, so that it is right there more often than on the test
  split, and fewer tokens are filtered than a large model fresh to the data would filter.
- {len(settings.seeds)} seeds for each arm; a seed changes the order of the examples. {queries:,} queries of
  the test split, evenly spread; nothing was chosen by them. Greedy decoding, torch, float32, {machine}.
- Quality is exact match over all four tasks together. Cost is FLOPs per token, 2 x parameters
  (section 4.1 of the paper). In brackets: 95 % intervals; queries and seeds are both resampled
  ({main.resamples:,} resamples). With {len(settings.seeds)} seeds they are too narrow rather than too wide.
  p: no difference in area, two-sided, not adjusted for the number of comparisons.
- "Saved" compares costs at one quality, midway between the baseline's small and large model.
  "Gained" compares qualities at the cost of calling the large model for 20 % of the queries.
""",
        f"""## What it says

{_verdicts(found)}
""",
        f"""## The four losses

![Quality against FLOPs per token](images/results/losses/deferral-curve.svg)

{tables["main"]["quality"]}

{tables["main"]["contrast"]}
""",
    ]
    if pair := tables.get("cat-dist, dist"):
        sections.append(f"CAT-Dist against Dist:\n\n{pair['contrast']}\n")
    sections += [
        f"""Seed by seed:

{tables["main"].get("seeds", "")}
""",
        f"""## Beside the paper

{_beside_paper(found, parts_gained)}
""",
        f"""## Where the correct answers come from

A1: kept on the device and correct; A2: deferred and correct (equation 9), at deferral rates of
0, 20 and 50 %.

![A1 and A2](images/results/losses/a1-a2.svg)

{parts}
""",
        f"""## Ablations: who filters

All eight losses and a control, `cat-xent-shuffled`: as many tokens filtered as CAT-Xent would,
but chosen at random within the batch.

{tables["all"]["contrast"]}

Validation cross-entropy on the way (equation 2 for all, mean of the seeds; lower is better):

{speed}

Share of target tokens left out of the loss at the end of training:

{filtered}
""",
    ]
    if "noise" in tables:
        sections.append(
            f"""## Label noise or focus?

The paper leaves open how much of the gain is label noise filtered out. Here {settings.noise:.0%} of the
training queries carry another query's answer. `noisy-xent-dropped` knows which and leaves them
out; the others do not know. The large model learned from the right labels, which makes it a good
judge of wrong ones: one that had learned from the same noise would judge worse.

{tables["noise"]["quality"]}

{tables["noise"]["contrast"]}
"""
        )
    if "rules, cat-xent" in tables:
        sections.append(
            f"""## Deferral rules

The rules of appendix C.1 and the router of appendix B (trained on the validation traces), on
the same answers.

![Rules compared](images/results/rules/rules.svg)

CAT-Xent:

{tables["rules, cat-xent"]["contrast"]}

Xent:

{tables["rules, xent"]["contrast"]}
"""
        )
    tasks = [name for name in tables["main"] if name.startswith("task ")]
    sections.append(
        "## Task by task\n\n![Task by task](images/results/losses/tasks.svg)\n\n"
        + "\n\n".join(f"`{name[5:]}`:\n\n{tables['main'][name]}" for name in tasks)
        + "\n"
    )
    sections.append(
        f"""Phoneme error rate on `g2p` (lower is better; gains are positive where they favour the first):

{tables["phonemes"]["quality"]}

{tables["phonemes"]["contrast"]}
"""
    )
    return "\n".join(sections)


def _verdicts(found: Mapping[str, Evaluation]) -> str:
    """One line for each question; the interval decides."""
    questions = (
        ("main", "cat-xent", "CAT-Xent against Xent"),
        ("cat-dist, dist", "cat-dist", "CAT-Dist against Dist"),
        ("main", "dist", "Dist against Xent"),
        ("all", "cat-xent-shuffled", "As many tokens filtered at random, against Xent"),
        ("cat-xent, cat-xent-shuffled", "cat-xent", "CAT-Xent against random filtering"),
        ("noise", "noisy-cat-xent", "With noisy labels: CAT-Xent against Xent"),
        (
            "noisy-cat-xent, noisy-cat-xent-shuffled",
            "noisy-cat-xent",
            "With noisy labels: CAT-Xent against random filtering",
        ),
        ("noise", "noisy-xent-dropped", "With noisy labels: noise left out, against Xent"),
        (
            "noisy-cat-xent, noisy-xent-dropped",
            "noisy-cat-xent",
            "With noisy labels: CAT-Xent against noise left out",
        ),
    )
    lines = [_verdict(_contrast(found.get(name), arm), text) for name, arm, text in questions]
    lines.append(_by_task(found["main"], "cat-xent"))
    return "\n".join(line for line in lines if line)


def _by_task(evaluation: Evaluation, group: str) -> str:
    """On which tasks the area differs from the baseline's."""
    tasks: dict[str, list[str]] = {}
    for part in evaluation.slices[1:]:
        for row in part.contrasts:
            if row.group == group:
                tasks.setdefault(word(row.area_gain), []).append(f"`{part.task}`")
    said = "; ".join(f"**{word}** on {', '.join(names)}" for word, names in tasks.items())
    return f"- Task by task, CAT-Xent against Xent: {said}." if said else ""


def _verdict(row: Contrast | None, question: str) -> str:
    if row is None:
        return ""
    area, shown = row.area_gain, word(row.area_gain)
    return (
        f"- {question}: **{shown}**. Area under the deferral curve {points(area)} points; at 20 %"
        f" of the calls {points(row.quality_gained)} points; {saved(row.cost_saved)} at equal"
        " quality."
    )


def word(area: Estimate) -> str:
    """What an interval shows."""
    if area.low is None or area.high is None or area.low <= 0 <= area.high:
        return "no difference shown"
    return "better" if area.low > 0 else "worse"


def _beside_paper(found: Mapping[str, Evaluation], parts_gained: str) -> str:
    row = _contrast(found["main"], "cat-xent")
    if row is None:
        return ""
    rules = found.get("rules, cat-xent")
    best = "-"
    if rules:
        first = max(rules.slices[0].headlines, key=lambda h: h.area.value or 0.0).rule
        gains = [row for row in rules.slices[0].contrasts if row.rule == first]
        best = first + "".join(
            f": area {points(row.area_gain)} points against mean" for row in gains
        )
    speed = _contrast(found["all"], "cat-xent-s")
    lines = [
        ("CAT-Xent: FLOPs saved at equal quality", "50 % at 86 % accuracy on SuperGLUE (figure 2)",
         saved(row.cost_saved)),
        ("CAT-Xent: quality at equal FLOPs", "+2 points at 20 % of the calls (section 4.1)",
         f"{points(row.quality_gained)} points"),
        ("CAT-Xent: where the gain lies", "in A1; A2 is the same (figure 4)", parts_gained),
        ("Best deferral rule", "mean (figure 6)", best),
        ("CAT-Xent-S", "very slow, far from convergence (appendix C.2)",
         "-" if speed is None else f"area {points(speed.area_gain)} points against Xent"),
    ]  # fmt: skip
    rows = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"| | paper | here |\n| --- | --- | --- |\n{rows}"


def _contrast(evaluation: Evaluation | None, group: str) -> Contrast | None:
    if evaluation is None:
        return None
    rows = [row for row in evaluation.slices[0].contrasts if row.group == group]
    return rows[0] if rows else None


def points(of: Estimate) -> str:
    """A share as points, with its interval."""
    return _signed(of, lambda value: f"{100 * value:+.2f}")


def saved(of: Estimate) -> str:
    """A share of a cost, with its interval."""
    return f"{_signed(of, lambda value: f'{100 * value:+.1f} %')} FLOPs saved"


def _signed(of: Estimate, form: object) -> str:
    write = form if callable(form) else str
    if of.value is None:
        return "not reached"
    if of.low is None or of.high is None:
        return str(write(of.value))
    return f"{write(of.value)} ({write(of.low)} to {write(of.high)})"
