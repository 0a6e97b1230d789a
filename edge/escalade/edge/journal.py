"""A client's trace: its header, and a record for each query; knows no prompt, no network."""

from __future__ import annotations

import datetime
import hashlib
import uuid
from pathlib import Path

import msgspec

from escalade.edge.answer import Answer
from escalade.edge.artifact import Manifest
from escalade.edge.base import Record
from escalade.edge.cascade import Cascade, not_calibrated
from escalade.edge.errors import CloudError
from escalade.edge.trace import TRACE_SCHEMA, ModelInfo, TraceAppender, TraceHeader
from escalade.edge.wire import Query


class Journal:
    """Adds what a client answers to a trace."""

    def __init__(self, cascade: Cascade, path: Path) -> None:
        """Look at what is there; see `TraceAppender`.

        Raises:
            CalibrationError: there is no threshold.
            DataError: the trace file is something else, or another client's.
        """
        self._cascade = cascade
        self._trace = TraceAppender(path, _header(cascade, None))

    def add(self, query: Query, answer: Answer) -> None:
        """Remember how a query ended."""
        asked = Record(
            id=uuid.uuid4().hex, task="", prompt=query.text, references=list(query.references)
        )
        self._trace.append(self._header_now, answer.as_record(asked))

    def _header_now(self) -> TraceHeader:
        try:
            return trace_header(self._cascade)
        except CloudError:  # a cloud that is silent just now has no name
            return _header(self._cascade, None)


def trace_header(cascade: Cascade) -> TraceHeader:
    """The first line of a cascade's traces.

    Raises:
        CalibrationError: there is no threshold.
        CloudError: there is a cloud and it does not say who it is.
    """
    return _header(cascade, cascade.large.info() if cascade.large is not None else None)


def small_info(manifest: Manifest) -> ModelInfo:
    """Who an artifact's model is, down to the bytes that decide what it answers.

    The digest is over the model's entry and every file but the router: weights may lie beside
    the program, and two models of one architecture may differ nowhere else.
    """
    model, router = manifest.model, manifest.deferral.router
    hashes = {name: one.sha256 for name, one in manifest.files.items() if name != router}
    digest = hashlib.sha256(msgspec.json.encode((model, hashes), order="sorted")).hexdigest()
    return ModelInfo(name=model.name, parameters=model.parameters, program_sha256=digest)


def _header(cascade: Cascade, large: ModelInfo | None) -> TraceHeader:
    if cascade.threshold is None:
        raise not_calibrated(cascade.artifact)
    return TraceHeader(
        schema=TRACE_SCHEMA,
        small=small_info(cascade.artifact.manifest),
        large=large,
        rule=cascade.rule.name,
        threshold=cascade.threshold,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    )
