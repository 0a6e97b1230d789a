"""What becomes of classifiers as artifacts: scikit-learn's and transformers' numbers beside theirs.

    .venv/bin/python -m benchmarks.online.classifiers ENCODER DATA

ENCODER is a folder of BERT, MiniLM, DistilBERT or RoBERTa; DATA are query records whose first
reference is the label. Both kinds learn from the first records, and are held against what they were
made from on those after them, in one run: labels, log-probabilities, accuracy, bytes, and the time
of one answer.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from benchmarks.online.ngrams import frequencies_of, rows_of
from numpy.typing import NDArray
from rich.table import Table
from sklearn.linear_model import SGDClassifier
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from escalade.cli.output import note_console, result_console
from escalade.cli.process.quiet import quiet_third_party
from escalade.edge.artifact import Scheme
from escalade.edge.base import Record, read_records
from escalade.edge.classification import HashedNgrams
from escalade.edge.generation import Artifact
from escalade.export.artifact.classifier import class_logprobs, export_classifier
from escalade.export.linear import export_linear

_SCHEMES: tuple[Scheme, ...] = ("none", "float16", "int8", "dynamic-int8", "int4")
# Of scikit-learn's penalty: the default, 1e-4, is for features that are not sparse.
_ALPHA = 1e-5
_BATCH, _RATE = 16, 5e-5  # BERT's own for fine-tuning (Devlin et al., appendix A.3)


class Held(NamedTuple):
    """An artifact held against what it was made from, text by text."""

    program_bytes: int
    accuracy: float
    #: Of what it was made from.
    own_accuracy: float
    same_labels: int
    most_delta: float
    #: Of one answer, half of them below; and one in a hundred above.
    median_ms: float
    p99_ms: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("encoder", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--train", type=int, default=4000)
    parser.add_argument("--test", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--length", type=int, default=64, help="tokens of a text that are read")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    quiet_third_party()

    records = list(read_records(options.data))
    train = records[: options.train]
    test = records[options.train : options.train + options.test]
    labels = sorted({record.references[0] for record in records})
    notes = note_console()
    held: dict[str, Held] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        notes.print("linear ...")
        held["linear"] = _linear(folder / "linear", train, test, labels)
        notes.print("fine-tuning the encoder ...")
        tuned = _tune(options.encoder, folder / "tuned", train, labels, options)
        references = _said(tuned, test, options.length)
        for scheme in _SCHEMES:
            notes.print(f"encoder {scheme} ...")
            export_classifier(tuned, folder / scheme, quantize=scheme)
            held[f"encoder {scheme}"] = _hold(folder / scheme, references, test, labels)
    if options.json:
        print(json.dumps({name: one._asdict() for name, one in held.items()}, indent=2))
        return
    table = Table(title=f"{len(test)} texts, {len(labels)} labels, trained on {len(train)}")
    for column in ("artifact", "MB", "accuracy", "its own", "same labels", "|delta log p|", "ms"):
        table.add_column(column)
    for name, one in held.items():
        table.add_row(
            name,
            f"{one.program_bytes / 1e6:.1f}",
            f"{one.accuracy:.1%}",
            f"{one.own_accuracy:.1%}",
            f"{one.same_labels}",
            f"{one.most_delta:.1e}",
            f"{one.median_ms:.2f}, p99 {one.p99_ms:.2f}",
        )
    result_console().print(table)


def _linear(
    out: Path, train: Sequence[Record], test: Sequence[Record], labels: Sequence[str]
) -> Held:
    features = HashedNgrams()
    frequencies = frequencies_of(features, _texts(train))
    classifier = SGDClassifier(loss="log_loss", alpha=_ALPHA, random_state=0)
    classifier.fit(
        rows_of(features, frequencies, _texts(train)), [one.references[0] for one in train]
    )
    export_linear(classifier, features, out, frequencies=frequencies)
    with np.errstate(divide="ignore"):
        references = np.log(classifier.predict_proba(rows_of(features, frequencies, _texts(test))))
    return _hold(out, references, test, labels)


def _texts(records: Sequence[Record]) -> list[str]:
    return [record.prompt for record in records]


def _tune(
    encoder: Path,
    out: Path,
    train: Sequence[Record],
    labels: Sequence[str],
    options: argparse.Namespace,
) -> Path:
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(encoder, model_max_length=options.length)
    model = AutoModelForSequenceClassification.from_pretrained(
        encoder, num_labels=len(labels), id2label=dict(enumerate(labels))
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=_RATE)
    model.train()
    for _ in range(options.epochs):
        for rows in torch.randperm(len(train)).split(_BATCH):
            few = [train[row] for row in rows]
            batch = tokenizer(
                [one.prompt for one in few], padding=True, truncation=True, return_tensors="pt"
            )
            wanted = torch.tensor([labels.index(one.references[0]) for one in few])
            model(**batch, labels=wanted).loss.backward()
            optimizer.step()
            optimizer.zero_grad()
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    return out


def _said(model_dir: Path, test: Sequence[Record], length: int) -> NDArray[np.float64]:
    """What transformers says `(n, K)`."""
    model = AutoModelForSequenceClassification.from_pretrained(model_dir).eval()
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    return np.stack([class_logprobs(model, tokenizer, one.prompt, length) for one in test])


def _hold(
    folder: Path, references: NDArray[np.float64], test: Sequence[Record], labels: Sequence[str]
) -> Held:
    artifact = Artifact.open(folder)
    said, seconds = [], []
    for record in test:
        began_s = time.perf_counter()
        found = artifact.classify(record.prompt)
        seconds.append(time.perf_counter() - began_s)
        said.append([found[label] for label in labels])
    ours = np.array(said)
    wanted = np.array([labels.index(record.references[0]) for record in test])
    chosen, own = ours.argmax(1), references.argmax(1)
    finite = np.isfinite(references)
    return Held(
        program_bytes=artifact.manifest.total_bytes,
        accuracy=float((chosen == wanted).mean()),
        own_accuracy=float((own == wanted).mean()),
        same_labels=int((chosen == own).sum()),
        most_delta=float(np.abs(ours - references)[finite].max()),
        median_ms=float(np.median(seconds)) * 1e3,
        p99_ms=float(np.quantile(seconds, 0.99)) * 1e3,
    )


if __name__ == "__main__":
    main()
