"""The tokens of one room: which are out, which are used up, which were revoked.

A token is good for one join, until it expires:

    issued ──▶ used       by the join that names it
    issued ──▶ revoked    before it was used
    any    ──▶ expired    by time alone; no event says so
    expired ──▶ forgotten `KEPT` later, so that a room remembers only the tokens of the last minutes

Events of tokens and events of the room come from two subjects, so a use may be seen before the issue that it
belongs to; what is remembered in the end is the same.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from heapq import heapify, heappop, heappush
from typing import Final

from roomledger.domain.errors import Code, Refusal
from roomledger_events.tokens import TokenIssued

KEPT: Final = timedelta(minutes=10)
"""How long an expired token is known, so that its owner is told what is wrong with it."""

# -- State


@dataclass(slots=True)
class Token:
    """What is known of one token; without `issued` its issue has not been seen yet."""

    issued: TokenIssued | None = None
    used_by: str | None = None
    revoked: bool = False


@dataclass(slots=True)
class Tokens:
    """The tokens of one room."""

    by_id: dict[str, Token] = field(default_factory=dict)
    _expiries: list[tuple[datetime, str]] = field(default_factory=list)

    # -- Evolve

    def issue(self, issued: TokenIssued) -> None:
        """Take in that a token was issued."""
        self._of(issued.token).issued = issued
        heappush(self._expiries, (issued.expires_at, issued.token))

    def use(self, token: str, participant: str) -> None:
        """Take in that a participant joined with a token."""
        self._of(token).used_by = participant

    def revoke(self, token: str) -> None:
        """Take in that a token was revoked."""
        self._of(token).revoked = True

    def pass_time(self, now: datetime) -> None:
        """Forget the tokens that expired long ago."""
        while self._expiries and self._expiries[0][0] + KEPT <= now:
            self.by_id.pop(heappop(self._expiries)[1], None)

    def void(self, generation: int) -> None:
        """Forget the tokens of the rooms up to this generation."""
        self.by_id = {
            each: token
            for each, token in self.by_id.items()
            if token.issued is not None and token.issued.generation > generation
        }
        self._expiries = [expiry for expiry in self._expiries if expiry[1] in self.by_id]
        heapify(self._expiries)

    def _of(self, token: str) -> Token:
        return self.by_id.setdefault(token, Token())

    # -- Decide

    def check(self, token: str, now: datetime) -> TokenIssued:
        """Return what a token was issued for.

        Raises:
            Refusal: It is not known here (`INVALID_TOKEN`), or is expired, revoked or used up.
        """
        known = self.by_id.get(token)
        if known is None or known.issued is None or known.issued.expires_at + KEPT <= now:
            # Nobody may tell by the answer whether one that expired long ago has been forgotten already.
            raise Refusal(Code.INVALID_TOKEN, "this token is not known in this room")
        if known.issued.expires_at <= now:
            raise Refusal(Code.TOKEN_EXPIRED, f"this token expired at {known.issued.expires_at:%FT%TZ}")
        if known.revoked:
            raise Refusal(Code.TOKEN_REVOKED, "this token was revoked")
        if known.used_by is not None:
            raise Refusal(Code.TOKEN_USED, "this token was used already")
        return known.issued

    # -- Queries

    def knows(self, token: str) -> bool:
        """Whether a token's issue has been seen; if not, it may stand further on in the log."""
        known = self.by_id.get(token)
        return known is not None and known.issued is not None
