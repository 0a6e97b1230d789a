"""Who a remote says that it is, and who may answer for it; knows no channel, no query."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from escalade.edge.errors import CloudError
from escalade.edge.trace import MemberInfo
from escalade.v1 import cascade_pb2 as pb
from escalade.v1.reasons import name_of_reason


class Known:
    """The models of a remote, once it was asked."""

    def __init__(
        self, tier: str, address: str, *, prompt_price: float, generated_price: float
    ) -> None:
        """Know nothing yet.

        Args:
            tier: what the tier is called.
            address: the remote's.
            prompt_price: see `RemoteTier`.
            generated_price: see `RemoteTier`.
        """
        self._tier, self._address = tier, address
        self._prompt_price, self._generated_price = prompt_price, generated_price
        #: Each with the tier that it belongs to there; empty until it is asked.
        self._members: list[tuple[str, MemberInfo]] = []
        # Names and revisions of the models that may answer.
        self._expected: set[tuple[str, str]] = set()
        # Of models whose revision a gateway does not say: which answered first for a tier of it.
        self._pinned: dict[tuple[str, str], str] = {}
        #: From now on no other model may answer: a trace's header names these.
        self.hold = False
        #: Who it is itself, which for a gateway is none of its models.
        self.identity: pb.ModelIdentity | None = None
        #: See `Tier.most_top`; 0 until it is asked.
        self.most_top = 0
        #: Its weights and what computes with them; None of several models, and until it is asked.
        self.content: tuple[str, str] | None = None

    @property
    def prices(self) -> tuple[float, float]:
        """For a million tokens, read and written."""
        return self._prompt_price, self._generated_price

    @property
    def members(self) -> list[MemberInfo]:
        """In the order of its tiers; empty until it is asked."""
        return [info for _, info in self._members]

    def learn(self, info: pb.GetModelInfoResponse) -> None:
        """Keep what it says of itself."""
        self.identity = info.model
        self.most_top = info.max_top_logprobs
        described = [
            (tier.tier, one.model, one.parameter_count)
            for tier in info.tiers
            for one in tier.members
        ] or [(self._tier, info.model, info.parameter_count)]
        self.content = None
        if info.model.revision and len(described) == 1:
            self.content = info.model.revision, info.engine
        # Tiers of a gateway that are silent just now have no members, and may answer later.
        if all(tier.members for tier in info.tiers):
            self._expected = {(model.name, model.revision) for _, model, _ in described}
        self._members = [
            (
                tier,
                MemberInfo(
                    name=model.name,
                    parameters=parameters,
                    revision=model.revision or None,
                    prompt_price=self._prompt_price,
                    generated_price=self._generated_price,
                ),
            )
            for tier, model, parameters in described
        ]

    def as_member(self, weight: float) -> MemberInfo:
        """Who it is as a member of a tier of several; of a gateway, with all its models."""
        models = self.members
        if len(models) == 1:
            return msgspec.structs.replace(models[0], weight=weight)
        assert self.identity is not None  # noqa: S101 - it has said who it is
        return MemberInfo(
            name=self.identity.name,
            parameters=sum(one.parameters for one in models),
            revision=self.identity.revision or None,
            prompt_price=self._prompt_price,
            generated_price=self._generated_price,
            weight=weight,
            models=models,
        )

    def check(self, response: pb.GenerateResponse) -> None:
        """Hold an answer to what it said of itself; where nobody relies on it, forget that.

        Raises:
            CloudError: another model answered than a trace's header names, or than the one that
                first answered since for the tier that did.
        """
        model = response.model
        if not model.name:
            return
        known = not self._expected or any(
            model.name == name and (not revision or model.revision == revision)
            for name, revision in self._expected
        )
        if not self.hold:
            if not known:
                self._members, self._expected = [], set()
            return
        named = ", ".join(sorted({name for name, _ in self._expected}))
        if known:
            answered = [report.tier for report in response.reports if not report.reason]
            which = (answered[-1] if answered else "", model.name)
            first = self._pinned.setdefault(which, model.revision)
            if first == model.revision:
                return
            named = f"{model.name} of revision {first[:12]!r}"
        raise CloudError(
            name_of_reason(pb.ERROR_REASON_MODEL_MISMATCH),
            f"{self._address}: answered by {model.name!r} of revision"
            f" {model.revision[:12]!r}, which is not what it said it has: {named}",
        )

    def places(self, ran: Sequence[tuple[str, str]]) -> list[int]:
        """Where models stand among all of the remote's; in order, where that is not known.

        Args:
            ran: of each, the tier there and its name.
        """
        known = [(tier, info.name) for tier, info in self._members]
        places: list[int] = []
        for one in ran:
            free = [k for k, other in enumerate(known) if other == one and k not in places]
            if not free:
                return list(range(len(ran)))
            places.append(free[0])
        return places
