"""One line of JSON for whatever is logged, and for each request; knows no metric, no trace.

Prompts and answers are in no line, unless asked for. What a client chose (its request id) stands
as a JSON string in ASCII, so that it begins no line of its own.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from escalade.cloud.rpcs import OWNER, host_of, peer_of
from escalade.cloud.watching.call import Call
from escalade.v1 import cascade_pb2 as pb

_LOG = logging.getLogger(__name__)
# What stands beside the message; our own `extra`.
_FIELDS = "escalade_fields"
# Characters: no longer id is taken, and one of megabytes that is refused must not fill the disk.
_MOST_ID = 256


class JsonFormatter(logging.Formatter):
    """A record as one line: time (UTC), level, logger, message, its fields, a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        time = datetime.fromtimestamp(record.created, UTC)
        line: dict[str, object] = {
            "time": time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, _FIELDS, {}),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


@contextmanager
def json_lines() -> Iterator[None]:
    """Have this process log lines of JSON on stderr, warnings of Python too, while the block runs.

    Ours from INFO on, what libraries say from WARNING on.
    """
    root, ours = logging.getLogger(), logging.getLogger("escalade")
    before, level = root.handlers[:], ours.level
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root.handlers[:] = [handler]
    ours.setLevel(logging.INFO)
    logging.captureWarnings(True)
    try:
        yield
    finally:
        logging.captureWarnings(False)
        root.handlers[:] = before
        ours.setLevel(level)


def take_over() -> None:
    """Have loggers that write to stderr by themselves, as transformers' does, write lines too."""
    for logger in list(logging.root.manager.loggerDict.values()):
        if isinstance(logger, logging.Logger) and logger.handlers:
            logger.handlers.clear()
            logger.propagate = True


class RequestLog:
    """Logs a line for each request.

    Args:
        model: who computes, where an answer does not say.
        text: whether prompts and answers are logged.
    """

    def __init__(self, model: str, *, text: bool) -> None:
        self._model, self._text = model, text

    def began(self, call: Call) -> None:
        """See `Observer`."""

    def ended(self, call: Call) -> None:
        """See `Observer`."""
        asked, outcome = call.asked, call.outcome
        line: dict[str, object] = {
            "rpc": call.rpc,
            "request_id": "" if asked is None else asked.request_id[:_MOST_ID],
            "client": OWNER.get() or host_of(peer_of(call.context)),
            "model": self._model if outcome is None else outcome.model.name,
            "code": call.code.name,
            "reason": call.reason,
            "seconds": round(call.seconds, 6),
        }
        if outcome is not None:
            line |= {
                "prompt_tokens": outcome.usage.prompt_tokens,
                "generated_tokens": outcome.usage.generated_tokens,
                "queue_seconds": round(outcome.timing.queue_s, 6),
            }
        if call.trace_id:
            line["trace_id"] = call.trace_id
        if self._text:
            line |= _texts(call)
        _LOG.info("request", extra={_FIELDS: line})


def _texts(call: Call) -> dict[str, object]:
    """What was asked and answered, as far as it came as text."""
    texts: dict[str, object] = {}
    if isinstance(call.asked, pb.GenerateRequest | pb.VerifyRequest):
        texts["prompt"] = call.asked.prompt.text or list(call.asked.prompt.tokens.ids)
    if isinstance(call.outcome, pb.GenerateResponse):
        texts["answer"] = call.outcome.text or list(call.outcome.token_ids)
    return texts
