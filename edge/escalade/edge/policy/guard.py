"""Stands where bytes leave: holds each query against the policy; knows no tier and no channel.

Whoever sends asks for a `Permit` first, shows it before each attempt, and says at the end what the
call took. There is no other way to a server of a cascade with a policy.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from weakref import WeakKeyDictionary

from escalade.edge.errors import BudgetError, PolicyError
from escalade.edge.policy.budget import Budget
from escalade.edge.policy.patterns import Patterns
from escalade.edge.policy.providers import NobodyToAskError, Providers, Question
from escalade.edge.policy.redaction import Hidden, RedactionError, Redactor
from escalade.edge.policy.rules import (
    BUDGET,
    CONSENT,
    REDACTION,
    Amount,
    Battery,
    Block,
    Consented,
    Leaving,
    LinkState,
    judge,
    judge_device,
    rules_of,
)
from escalade.edge.policy.table import PolicyTable
from escalade.v1.quoting import one_line


class Permit:
    """Leave to send one query to one tier, as often as it takes; a block that sends is inside it.

    Args:
        guard: whose leave it is; None: nobody minds.
        leaving: what is sent.
        day: of the budget that it was taken from; None: there is none.
    """

    def __init__(self, guard: Guard | None, leaving: Leaving, day: str | None = None) -> None:
        self._guard, self._leaving, self._day = guard, leaving, day
        self._lock = threading.Lock()
        self._taken = leaving.amount
        self._attempts = 0
        self._took: Amount | None = None

    def attempt(self) -> None:
        """Show it before the query is sent once; a link or a battery may have changed meanwhile.

        Raises:
            PolicyError: it stays after all, or the budget has no room for another attempt.
        """
        if self._guard is None:
            return
        self._guard.check_device(self._leaving.tier)
        with self._lock:
            again = Amount(bytes=self._leaving.amount.bytes)
            if self._attempts and self._day is not None:
                self._guard.take(self._leaving.tier, again)
                self._taken = self._taken.plus(again)
            self._attempts += 1

    def took(self, *, prompt_tokens: int, generated_tokens: int, bytes_down: int) -> None:
        """Say what the call took, once its answer is there; the rest is known."""
        read, written = self._leaving.prices
        money = (read * prompt_tokens + written * generated_tokens) / 1e6
        with self._lock:
            bytes_ = self._taken.bytes + bytes_down
            self._took = Amount(1, prompt_tokens + generated_tokens, bytes_, money)

    def __enter__(self) -> Permit:
        return self

    def __exit__(self, *exc: object) -> None:
        """Settle: what never was attempted is given back, what had no answer stays as taken."""
        if self._guard is None or self._day is None:
            return
        with self._lock:
            took = self._took if self._attempts else Amount()
            if took is not None:
                self._guard.settle(took.minus(self._taken), self._day)


class Guard:
    """A policy, and who says how things stand; several threads may ask."""

    def __init__(
        self,
        table: PolicyTable,
        providers: Providers,
        *,
        budget_file: Path,
        cascade: str,
        currency: str = "USD",
    ) -> None:
        """Compile the policy, and open the budget where it has one.

        Args:
            table: what the file says.
            providers: who says how things stand.
            budget_file: where is kept what was spent.
            cascade: whose budget it is.
            currency: of money, for questions.

        Raises:
            CascadeError: an expression cannot be compiled.
            BudgetError: the budget's file cannot be opened or written.
            ModuleNotFoundError: google-re2 is not there (the extra `policy`).
        """
        self.rules = rules_of(table)
        self.redactor = Redactor(
            Patterns(table.redact, "policy.redact"), providers.redaction, providers.clock
        )
        self.providers, self._currency = providers, currency
        self._budget = None
        if table.has_budget:
            self._budget = Budget(budget_file, cascade, table.daily, providers.today)
        self._lock = threading.Lock()
        # By query: one is asked about once for each tier, however many members that has.
        self._words: WeakKeyDictionary[object, dict[str, _Word]] = WeakKeyDictionary()
        self._any_agreed = False

    def admit(self, leaving: Leaving) -> Permit:
        """Leave to send a query.

        Raises:
            PolicyError: it stays.
        """
        try:
            blocked = judge(self.rules, leaving, _Now(self, leaving))
        except BudgetError as error:
            blocked = Block(BUDGET, str(error), may_pass=True)
        if blocked is not None:
            raise _stays(leaving.tier, blocked)
        day = None if self._budget is None else self.take(leaving.tier, leaving.amount)
        return Permit(self, leaving, day)

    def hide(self, tier: str, texts: Sequence[str]) -> Hidden:
        """Hide what is not to be sent.

        Raises:
            PolicyError: it could not be found out what.
        """
        try:
            return self.redactor.hide(texts)
        except RedactionError as error:
            raise self.refused(tier, str(error)) from error

    def refused(self, tier: str, why: str) -> PolicyError:
        """A query that cannot be sent as the redaction wants it."""
        return _stays(tier, Block(REDACTION, why))

    def check_device(self, tier: str) -> None:
        """Whether the device lets anything out just now.

        Raises:
            PolicyError: it does not.
        """
        blocked = judge_device(self.rules.table, _Now(self, None))
        if blocked is not None:
            raise _stays(tier, blocked)

    @property
    def waits_for_word(self) -> bool:
        """Whether somebody will be asked before anything is sent, and has agreed to nothing yet."""
        asks = self.rules.table.send == "ask" and self.providers.consent is not None
        return asks and not self._any_agreed

    def check_question(self, tier: str) -> None:
        """Whether a question may be sent that holds no query: who is there.

        Raises:
            PolicyError: the device lets nothing out just now, or the user has agreed to nothing.
        """
        self.check_device(tier)
        if self.rules.table.send == "ask" and not self._any_agreed:
            raise _stays(tier, Block(CONSENT, "the user has agreed to nothing yet", may_pass=True))

    def take(self, tier: str, amount: Amount) -> str:
        """Write down what is about to be sent; gives the day that it counts for.

        Raises:
            PolicyError: it is more than is left, or it cannot be written down.
        """
        assert self._budget is not None  # noqa: S101 - who takes has looked
        try:
            taken = self._budget.take(amount)
        except BudgetError as error:
            taken = Block(BUDGET, str(error), may_pass=True)
        if isinstance(taken, Block):
            raise _stays(tier, taken)
        return taken

    def settle(self, amount: Amount, day: str) -> None:
        """Write down what a call took beside; a disk that is full costs no answer."""
        if self._budget is not None:
            with suppress(BudgetError):
                self._budget.add(amount, day)

    def close(self) -> None:
        """Close the budget."""
        if self._budget is not None:
            self._budget.close()

    def consent_to(self, leaving: Leaving) -> Consented:
        """The user's word, asked for once for each query and tier; None: there is nobody to ask.

        Raises:
            PolicyError: whoever was to ask has failed.
        """
        ask = self.providers.consent
        if ask is None:
            return None
        with self._lock:
            of_query = self._words.setdefault(leaving.query, {}) if leaving.query else {}
            word = of_query.setdefault(leaving.tier, _Word())
        with word.lock:
            if word.agreed is None:
                try:
                    word.agreed = bool(ask(self._question(leaving)))
                except NobodyToAskError as error:
                    said = one_line(str(error))
                    raise _stays(leaving.tier, Block(CONSENT, said, may_pass=True)) from error
                except Exception as error:  # somebody else's code: nothing is sent
                    said = f"asking the user failed: {type(error).__name__}: {error}"
                    raise _stays(leaving.tier, Block(CONSENT, said, may_pass=True)) from error
        self._any_agreed = self._any_agreed or word.agreed
        return word.agreed

    def spent(self) -> Amount:
        """Of today's budget; nothing where there is none."""
        return Amount() if self._budget is None else self._budget.spent()

    def _question(self, leaving: Leaving) -> Question:
        return Question(
            tier=leaving.tier,
            address=leaving.address,
            texts=None if leaving.texts is None else tuple(leaving.texts),
            amount=leaving.amount,
            currency=self._currency,
            request_id=leaving.request_id,
            cancelled=leaving.cancelled or (lambda: False),
        )


class _Word:
    """What a user said, or nothing yet; members of a tier that ask at once wait for one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.agreed: bool | None = None


class _Now:
    """How things stand, each found out once and only where a rule looks."""

    def __init__(self, guard: Guard, leaving: Leaving | None) -> None:
        self._guard, self._leaving = guard, leaving

    @cached_property
    def link(self) -> LinkState:
        return self._guard.providers.link()

    @cached_property
    def battery(self) -> Battery | None:
        return self._guard.providers.battery()

    @property
    def spent(self) -> Amount:
        return self._guard.spent()

    @property
    def consent(self) -> Consented:
        return None if self._leaving is None else self._guard.consent_to(self._leaving)


def _stays(tier: str, blocked: Block) -> PolicyError:
    """As every tier's failure is told. What may pass is of the link: an outbox asks again."""
    return PolicyError(
        blocked.reason,
        f"{tier}: not sent: {one_line(blocked.said)}",
        cause="link" if blocked.may_pass else "query",
    )
