"""The user's word on what leaves, asked for once for each query and tier; knows no other rule."""

from __future__ import annotations

import threading
from weakref import WeakKeyDictionary

from escalade.edge.policy.guard.staying import stays
from escalade.edge.policy.providers import Consent, NobodyToAskError, Question
from escalade.edge.policy.rules import CONSENT, Block, Consented, Leaving
from escalade.v1.quoting import one_line


class Consents:
    """What a user has said; several threads may ask."""

    def __init__(self, ask: Consent | None, currency: str) -> None:
        """Nothing is asked yet.

        Args:
            ask: who asks the user; None: there is nobody to ask.
            currency: of money, for questions.
        """
        self._ask, self._currency = ask, currency
        self._lock = threading.Lock()
        # By query: one is asked about once for each tier, however many members that has.
        self._of: WeakKeyDictionary[object, dict[str, _Word]] = WeakKeyDictionary()
        #: Whether the user has agreed to anything yet.
        self.any_agreed = False

    def to(self, leaving: Leaving) -> Consented:
        """The user's word, asked for once for each query and tier; None: there is nobody to ask.

        Raises:
            PolicyError: whoever was to ask has failed.
        """
        ask = self._ask
        if ask is None:
            return None
        with self._lock:
            of_query = self._of.setdefault(leaving.query, {}) if leaving.query else {}
            word = of_query.setdefault(leaving.tier, _Word())
        with word.lock:
            if word.agreed is None:
                try:
                    word.agreed = bool(ask(self._question(leaving)))
                except NobodyToAskError as error:
                    said = one_line(str(error))
                    raise stays(leaving.tier, Block(CONSENT, said, may_pass=True)) from error
                except Exception as error:  # somebody else's code: nothing is sent
                    said = f"asking the user failed: {type(error).__name__}: {error}"
                    raise stays(leaving.tier, Block(CONSENT, said, may_pass=True)) from error
        self.any_agreed = self.any_agreed or word.agreed
        return word.agreed

    def _question(self, leaving: Leaving) -> Question:
        return Question(
            tier=leaving.tier,
            address=leaving.address,
            texts=None if leaving.texts is None else tuple(leaving.texts),
            spending=leaving.spending,
            currency=self._currency,
            request_id=leaving.request_id,
            cancelled=leaving.cancelled or (lambda: False),
        )


class _Word:
    """What a user said, or nothing yet; members of a tier that ask at once wait for one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.agreed: bool | None = None
