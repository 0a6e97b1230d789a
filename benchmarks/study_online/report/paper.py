"""Tables 1 and 2 of the paper (arXiv 2402.04513), without FEVER; computes nothing.

Accuracy in percent: at the three budgets, of HateSpeech with the recall of `hate`; table 2 is IMDB,
over budgets.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks.study_online.streams import Shift


class Row(NamedTuple):
    """One method at the three budgets of a stream."""

    accuracy: tuple[float, float, float]
    recall: tuple[float, float, float] | None = None


Table = dict[tuple[str, str], dict[str, Row]]

#: The experts by themselves.
ALONE: dict[tuple[str, str], tuple[float, float | None]] = {
    ("hatespeech", "gpt35_turbo"): (83.34, 83.28),
    ("hatespeech", "llama2_70b_chat"): (77.81, 82.19),
    ("isear", "gpt35_turbo"): (70.34, None),
    ("isear", "llama2_70b_chat"): (68.23, None),
    ("imdb", "gpt35_turbo"): (94.15, None),
    ("imdb", "llama2_70b_chat"): (93.33, None),
}

TABLE: Table = {
    ("hatespeech", "gpt35_turbo"): {
        "distilled linear": Row((80.18, 82.23, 85.03), (37.94, 49.25, 45.59)),
        "distilled encoder": Row((80.49, 80.71, 79.35), (64.39, 73.88, 77.37)),
        "ensemble": Row((82.61, 77.48, 81.55), (76.75, 76.89, 80.30)),
        "cascade": Row((82.66, 85.35, 83.26), (82.36, 77.20, 81.03)),
    },
    ("hatespeech", "llama2_70b_chat"): {
        "distilled linear": Row((67.94, 79.71, 81.46), (66.56, 61.73, 49.91)),
        "distilled encoder": Row((75.84, 79.18, 80.27), (78.87, 75.54, 72.21)),
        "ensemble": Row((75.99, 70.79, 76.82), (60.36, 79.16, 81.84)),
        "cascade": Row((78.30, 78.32, 78.32), (63.06, 76.54, 82.03)),
    },
    ("isear", "gpt35_turbo"): {
        "distilled linear": Row((44.97, 47.46, 48.92)),
        "distilled encoder": Row((61.49, 62.62, 63.37)),
        "ensemble": Row((56.56, 60.42, 61.78)),
        "cascade": Row((60.78, 65.34, 69.75)),
    },
    ("isear", "llama2_70b_chat"): {
        "distilled linear": Row((46.78, 47.56, 51.76)),
        "distilled encoder": Row((62.18, 61.84, 65.12)),
        "ensemble": Row((54.74, 57.35, 60.19)),
        "cascade": Row((59.24, 63.34, 67.25)),
    },
    ("imdb", "gpt35_turbo"): {
        "distilled linear": Row((82.61, 83.60, 87.01)),
        "distilled encoder": Row((85.28, 90.18, 90.19)),
        "ensemble": Row((86.73, 88.80, 89.95)),
        "cascade": Row((87.95, 92.48, 93.01)),
    },
    ("imdb", "llama2_70b_chat"): {
        "distilled linear": Row((82.17, 85.80, 86.88)),
        "distilled encoder": Row((85.39, 85.59, 85.44)),
        "ensemble": Row((87.14, 88.66, 89.61)),
        "cascade": Row((87.58, 92.14, 92.63)),
    },
}

#: By expert and order.
ORDERS: dict[str, dict[Shift, float]] = {
    "gpt35_turbo": {"": 90.77, "length": 90.23, "comedy": 90.85},
    "llama2_70b_chat": {"": 90.97, "length": 90.64, "comedy": 91.46},
}
