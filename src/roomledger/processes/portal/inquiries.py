"""How rooms are asked: found, asked, and found anew while they are on their way to another node.

What may go away by itself is tried again for a while. Every attempt is the same command, so that it is
carried out once.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

import structlog

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.portal.session_effects import Right
from roomledger.processes.portal.whereabouts import Place, Whereabouts
from roomledger.runtime.calls import RequestMeta

AGAIN: Final = frozenset(
    {Code.NOT_READY, Code.WRONG_CONTROLLER, Code.NO_SUCH_NODE, Code.NO_NODE, Code.ALL_IN_FULL_LOAD}
)
"""Refusals that a node which takes the room over mends."""
UNSURE: Final = frozenset({Code.NOT_READY, Code.LOG_UNAVAILABLE, Code.INTERNAL})
"""Refusals after which the room may have done all the same what was asked of it: an answer got lost."""
_FIRST_PAUSE_S: Final = 0.02
_LONGEST_PAUSE_S: Final = 0.5

Found = TypeVar("Found")
log = structlog.get_logger(__name__)


class Denied(NamedTuple):
    """A room did not do what was asked of it.

    Attributes:
        refusal: Why.
        unsure: Whether it may have done so all the same.
    """

    refusal: Refusal
    unsure: bool


class Patience(NamedTuple):
    """How long a room is asked, in seconds.

    Attributes:
        limit_s: In all.
        attempt_s: For one answer, before the room is looked for anew.
    """

    limit_s: float
    attempt_s: float


def on_behalf_of(right: Right, participant: str, command: str) -> RequestMeta:
    """Return what the requests say of themselves that a token sets off."""
    return RequestMeta(
        command=f"{command}:{participant}", correlation=right.token, actor=f"participant:{participant}"
    )


class Inquiries:
    """Asks rooms.

    Args:
        whereabouts: Where they are run.
    """

    def __init__(self, whereabouts: Whereabouts) -> None:
        self._whereabouts = whereabouts

    async def ask(
        self,
        right: Right,
        participant: str,
        question: Callable[[str], Awaitable[Found]],
        patience: Patience,
    ) -> Found | Denied:
        """Return what a room answers.

        Args:
            right: Whose room.
            participant: On whose behalf.
            question: Asks the room at a node; the same command each time.
            patience: How long to try.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + patience.limit_s
        pause, unsure = _FIRST_PAUSE_S, False
        while True:
            outcome = await self._attempt(right, participant, question, end, patience.attempt_s)
            if not isinstance(outcome, Denied):
                return outcome
            unsure |= outcome.unsure
            if outcome.refusal.code not in AGAIN or end - loop.time() <= pause:
                return Denied(outcome.refusal, unsure)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)

    async def _attempt(
        self,
        right: Right,
        participant: str,
        question: Callable[[str], Awaitable[Found]],
        end: float,
        attempt_s: float,
    ) -> Found | Denied:
        place: Place | None = None
        try:
            async with asyncio.timeout_at(end):
                place = await self._whereabouts.of(right.room, on_behalf_of(right, participant, "find"))
                async with asyncio.timeout(attempt_s):
                    return await question(place.node)
        except TimeoutError:
            refusal = Refusal(Code.NOT_READY, "the room does not answer in time")
        except Refusal as error:
            refusal = error
        except Exception:
            log.exception("a room could not be asked", room=right.room, token=right.token)
            refusal = Refusal(Code.INTERNAL, "something went wrong here; the log lines say what")
        if place is not None and refusal.code in AGAIN:
            self._whereabouts.forget(right.room, place)
        return Denied(refusal, unsure=place is not None and refusal.code in UNSURE)
