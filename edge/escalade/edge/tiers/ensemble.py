"""Several artifacts that vote on one answer; knows no network.

The deferral rule of Revisiting Cascaded Ensembles (section 3.2, equation 3): a query is
deferred where too few members give the answer that most of them give. Members answer one
after the other, and no more of them than the decision takes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from escalade.edge.artifact import MANIFEST_NAME, read_bounded
from escalade.edge.base import atomic_write, sha256_of
from escalade.edge.deferral import CalibrationEntry, Table, defers
from escalade.edge.errors import ArtifactError
from escalade.edge.generation import Artifact
from escalade.edge.runtimes import Step

ENSEMBLE_SCHEMA = 1
_MAX_FILE_BYTES = 1 << 20


class Vote(NamedTuple):
    """The answer of most, and the deferral score: the share of members that gave another."""

    text: str
    score: float


def vote_share(answers: Sequence[str]) -> Vote:
    """The rule: most votes win, and among equals the answer that was given first.

    An answer counts as it is written. An empty one is an answer too: members that fail alike
    agree.

    Args:
        answers: of all members, in their order, K >= 1.

    Raises:
        ValueError: there is no answer.
    """
    return Vote(_leader(answers), _score(max(Counter(answers).values()), len(answers)))


def vote_bounds(answers: Sequence[str], members: int) -> tuple[float, float]:
    """Between what the score of all K members must lie, after k of them answered.

    With c votes for the answer that leads, the winner will have at least c, for votes are not
    taken back, and at most c + K - k; both can be had: the others may all give answers of
    their own, if c >= 1, or all the leading one. More votes make a lower score, in floating
    point too, since division and subtraction keep order when they round.

    Args:
        answers: of the first k members, 1 <= k <= K.
        members: K.

    Raises:
        ValueError: there is no answer, or more than `members`.
    """
    if not 1 <= len(answers) <= members:
        raise ValueError(f"answers must be 1 to {members}, got {len(answers)}")
    most = max(Counter(answers).values())
    return _score(most + members - len(answers), members), _score(most, members)


def is_settled(answers: Sequence[str], members: int) -> bool:
    """Whether no vote to come can make another answer win.

    Another answer of v votes ends with at most v + K - k. It wins with more than the leader
    has, or with as many if it was given first.

    Arguments and errors are those of `vote_bounds`.
    """
    vote_bounds(answers, members)
    votes, rest = Counter(answers), members - len(answers)
    leader = _leader(answers)
    others = [(votes[one], answers.index(one)) for one in votes if one != leader]
    others.append((0, len(answers)))  # one that nobody has given yet
    return all(
        (count + rest, -first) < (votes[leader], -answers.index(leader)) for count, first in others
    )


def is_decided(
    answers: Sequence[str], members: int, threshold: float, *, can_defer: bool = True
) -> bool:
    """Whether the members not yet asked can change neither the decision nor what is answered.

    Args:
        answers: as above.
        members: K.
        threshold: defer at this score or above.
        can_defer: whether the large model answers what is deferred. The winner matters only
            where it does not.

    Raises:
        ValueError: as `vote_bounds`.
    """
    least, most = vote_bounds(answers, members)
    if defers(least, threshold):
        return can_defer or is_settled(answers, members)
    return not defers(most, threshold) and is_settled(answers, members)


def check_members(members: Sequence[Artifact]) -> None:
    """Check that there are members, and that none of them votes twice.

    Raises:
        ValueError: there is none, or two have the same manifest.
    """
    if not members:
        raise ValueError("an ensemble needs at least 1 member")
    for index, member in enumerate(members):
        for other in members[:index]:
            if member.manifest == other.manifest:
                raise ValueError(
                    f"{member.folder} and {other.folder} are the same artifact, which has one vote"
                )


class EnsembleAnswer(NamedTuple):
    """How the members answered one query."""

    text: str
    #: Where not all members were asked, the end of `vote_bounds` that decided.
    score: float
    would_defer: bool
    #: What was said, by how many, in the order it was first said.
    votes: dict[str, int]
    #: Of each member that was asked, one after the other: the cost is their sum.
    steps_by_member: list[list[Step]]


class MemberEntry(Table, frozen=True, kw_only=True):
    """An artifact of an ensemble."""

    #: From the ensemble's file.
    folder: str
    #: Another manifest is another member.
    manifest_sha256: str


class EnsembleFile(Table, frozen=True, kw_only=True):
    """An ensemble on disk."""

    schema: int
    members: list[MemberEntry]
    threshold: float
    calibration: CalibrationEntry | None = None


class Ensemble:
    """Opened artifacts, asked in turn.

    Example:
        >>> ensemble = Ensemble.open(Path("ensemble.json"))
        >>> answer = ensemble.answer("g2p: cascade")
    """

    def __init__(self, members: Sequence[Artifact], threshold: float) -> None:
        """Put artifacts together.

        Args:
            members: at least 1; the cheapest first.
            threshold: defer where at least this share of members gave another answer than
                most; above 0 and at most 1 / K asks for unanimity.

        Raises:
            ValueError: there is no member, or one is there twice.
        """
        check_members(members)
        self.members = list(members)
        self.threshold = threshold

    @classmethod
    def open(cls, path: Path, *, threads: int = 0) -> Ensemble:
        """Open what `save` wrote, and every member.

        Raises:
            ArtifactError: the file or a member cannot be read, or a member is another one.
        """
        try:
            content = msgspec.json.decode(read_bounded(path, _MAX_FILE_BYTES), type=EnsembleFile)
        except (ValueError, RecursionError) as error:
            raise ArtifactError(f"{path}: not an ensemble: {error}") from error
        if content.schema != ENSEMBLE_SCHEMA:
            raise ArtifactError(
                f"{path}: schema {content.schema}; this version reads {ENSEMBLE_SCHEMA}"
            )
        members = []
        for entry in content.members:
            folder = path.parent / entry.folder
            artifact = Artifact.open(folder, threads=threads)
            if (found := sha256_of(folder / MANIFEST_NAME)) != entry.manifest_sha256:
                raise ArtifactError(
                    f"{folder}: manifest {found[:12]}, the ensemble {path} was made with"
                    f" {entry.manifest_sha256[:12]}"
                )
            members.append(artifact)
        try:
            return cls(members, content.threshold)
        except ValueError as error:
            raise ArtifactError(f"{path}: {error}") from error

    def save(self, path: Path, calibration: CalibrationEntry | None = None) -> EnsembleFile:
        """Write the ensemble's file: where its members lie, and which they are.

        Raises:
            DataError: the file cannot be written.
        """
        content = EnsembleFile(
            schema=ENSEMBLE_SCHEMA,
            members=[
                MemberEntry(
                    folder=os.path.relpath(member.folder.resolve(), path.parent.resolve()),
                    manifest_sha256=sha256_of(member.folder / MANIFEST_NAME),
                )
                for member in self.members
            ],
            threshold=self.threshold,
            calibration=calibration,
        )
        with atomic_write(path) as stream:
            stream.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")
        return content

    def answer(
        self, prompt: str, *, can_defer: bool = True, begun: EnsembleAnswer | None = None
    ) -> EnsembleAnswer:
        """Ask the members until the vote is decided.

        Each member has its own tokenizer and reads the same text.

        Args:
            prompt: the query.
            can_defer: whether there is a large model to answer what is deferred; where there
                is none, the vote goes on until its winner is certain.
            begun: what some members have already said to this prompt; only others are asked.

        Raises:
            PromptError: a member cannot take the prompt; before any is asked.
        """
        encoded = [member.encode(prompt) for member in self.members]
        steps_by_member = [] if begun is None else list(begun.steps_by_member)
        answers = [
            _text(member, steps)
            for member, steps in zip(self.members, steps_by_member, strict=False)
        ]
        for member, prompt_ids in list(zip(self.members, encoded, strict=True))[len(answers) :]:
            if answers and self._is_decided(answers, can_defer):
                break
            steps = member.generate(prompt_ids)
            steps_by_member.append(steps)
            answers.append(_text(member, steps))
        least, most = vote_bounds(answers, len(self.members))
        would_defer = defers(least, self.threshold)
        return EnsembleAnswer(
            text=_leader(answers),
            score=least if would_defer else most,
            would_defer=would_defer,
            votes=dict(Counter(answers)),
            steps_by_member=steps_by_member,
        )

    def _is_decided(self, answers: Sequence[str], can_defer: bool) -> bool:
        return is_decided(answers, len(self.members), self.threshold, can_defer=can_defer)


def _text(member: Artifact, steps: Sequence[Step]) -> str:
    return member.decode([step.token_id for step in steps if not step.ended])


def _leader(answers: Sequence[str]) -> str:
    votes = Counter(answers)
    if not votes:
        raise ValueError("answers must be 1 or more, got 0")
    return max(votes, key=lambda one: votes[one])  # the first of equals: a Counter keeps order


def _score(votes: int, members: int) -> float:
    return 1.0 - votes / members
