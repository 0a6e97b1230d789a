"""The part of a policy that a query alone decides, for calibration and replays; asks no device."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import msgspec

from escalade.edge.base import SystemClock
from escalade.edge.policy.patterns import Patterns
from escalade.edge.policy.redaction import RedactionError, Redactor
from escalade.edge.policy.rules import judge_content, policy_of
from escalade.edge.policy.table import PolicyTable


class ContentPolicy:
    """What patterns, tasks and redaction keep here, each time alike.

    Link, battery, budget and the user's word are not of the query: how often they keep it is a
    share that somebody has to name. `send = "never"` is a share of 1.
    """

    def __init__(self, table: PolicyTable) -> None:
        """Compile the policy.

        Args:
            table: the file's.

        Raises:
            CascadeError: an expression cannot be compiled.
            ModuleNotFoundError: google-re2 is not there (the extra `policy`).
        """
        self._policy = policy_of(msgspec.structs.replace(table, send="allow"))
        self._redactor = Redactor(Patterns(table.redact, "policy.redact"), None, SystemClock())

    def keeps(self, texts: Sequence[str], task: str) -> bool:
        """Whether a query stays.

        Args:
            texts: all that would be sent: the prompt, and the draft where one goes along.
            task: of its record; empty: not known.
        """
        try:
            sent = self._redactor.hide(texts).texts if self._redactor else texts
        except RedactionError:
            return True
        return judge_content(self._policy, sent, task) is not None


def content_sha256(table: PolicyTable | None) -> str:
    """Of all that decides which queries `ContentPolicy` keeps, in hexadecimal; empty of none.

    A promise about thresholds is of one such content.
    """
    if table is None or not (table.stay_patterns or table.stay_tasks or table.redact):
        return ""
    said = (table.when_unknown, table.stay_patterns, table.stay_tasks, table.redact)
    return hashlib.sha256(msgspec.json.encode(said)).hexdigest()
