"""Stands where bytes leave: holds each query against the policy; knows no tier and no channel.

Whoever sends asks for a `Permit` first, shows it before each attempt, and says at the end what the
call took. There is no other way to a server of a cascade with a policy.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path

from escalade.edge.errors import BudgetError, PolicyError
from escalade.edge.policy.guard.budget import Budget
from escalade.edge.policy.guard.consents import Consents
from escalade.edge.policy.guard.permit import Permit
from escalade.edge.policy.guard.staying import stays
from escalade.edge.policy.patterns import Patterns
from escalade.edge.policy.providers import Providers
from escalade.edge.policy.redaction import Hidden, RedactionError, Redactor
from escalade.edge.policy.rules import (
    BUDGET,
    CONSENT,
    REDACTION,
    Battery,
    Block,
    Consented,
    Leaving,
    LinkState,
    Spending,
    judge,
    judge_device,
    policy_of,
)
from escalade.edge.policy.table import PolicyTable


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
        self._policy = policy_of(table)
        self.redactor = Redactor(
            Patterns(table.redact, "policy.redact"), providers.redaction, providers.clock
        )
        self.providers = providers
        self._budget = None
        if table.has_budget:
            self._budget = Budget(budget_file, cascade, table.daily, providers.today)
        self._consents = Consents(providers.consent, currency)

    def admit(self, leaving: Leaving) -> Permit:
        """Leave to send a query.

        Raises:
            PolicyError: it stays.
        """
        try:
            blocked = judge(self._policy, leaving, _Now(self, leaving))
        except BudgetError as error:
            blocked = Block(BUDGET, str(error), may_pass=True)
        if blocked is not None:
            raise stays(leaving.tier, blocked)
        day = None if self._budget is None else self.take(leaving.tier, leaving.spending)
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
        return stays(tier, Block(REDACTION, why))

    def check_device(self, tier: str) -> None:
        """Whether the device lets anything out just now.

        Raises:
            PolicyError: it does not.
        """
        blocked = judge_device(self._policy.table, _Now(self, None))
        if blocked is not None:
            raise stays(tier, blocked)

    @property
    def waits_for_word(self) -> bool:
        """Whether somebody will be asked before anything is sent, and has agreed to nothing yet."""
        asks = self._policy.table.send == "ask" and self.providers.consent is not None
        return asks and not self._consents.any_agreed

    def check_question(self, tier: str) -> None:
        """Whether a question may be sent that holds no query: who is there.

        Raises:
            PolicyError: the device lets nothing out just now, or the user has agreed to nothing.
        """
        self.check_device(tier)
        if self._policy.table.send == "ask" and not self._consents.any_agreed:
            raise stays(tier, Block(CONSENT, "the user has agreed to nothing yet", may_pass=True))

    def take(self, tier: str, spending: Spending) -> str:
        """Write down what is about to be sent; gives the day that it counts for.

        Raises:
            PolicyError: it is more than is left, or it cannot be written down.
        """
        assert self._budget is not None  # noqa: S101 - who takes has looked
        try:
            taken = self._budget.take(spending)
        except BudgetError as error:
            taken = Block(BUDGET, str(error), may_pass=True)
        if isinstance(taken, Block):
            raise stays(tier, taken)
        return taken

    def settle(self, spending: Spending, day: str) -> None:
        """Write down what a call took beside; a disk that is full costs no answer."""
        if self._budget is not None:
            with suppress(BudgetError):
                self._budget.add(spending, day)

    def close(self) -> None:
        """Close the budget."""
        if self._budget is not None:
            self._budget.close()

    def consent_to(self, leaving: Leaving) -> Consented:
        """See `Consents.to`."""
        return self._consents.to(leaving)

    def spent(self) -> Spending:
        """Of today's budget; nothing where there is none."""
        return Spending() if self._budget is None else self._budget.spent()


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
    def spent(self) -> Spending:
        return self._guard.spent()

    @property
    def consent(self) -> Consented:
        return None if self._leaving is None else self._guard.consent_to(self._leaving)
