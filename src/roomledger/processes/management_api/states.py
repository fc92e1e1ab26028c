"""The state of the cluster at a moment, as a service may see it."""

import asyncio
from http import HTTPStatus
from typing import Final, NamedTuple

from roomledger.domain.errors import Code, Refusal
from roomledger.processes.management_api.errors import Problem
from roomledger.runtime.checkpoints import Checkpoints
from roomledger.runtime.errors import NoSuchMoment, TooFarToRead
from roomledger.runtime.rebuilding import Moment
from roomledger_events.envelope import to_json

NO_SUCH_MOMENT: Final = "no_such_moment"
TOO_FAR: Final = "too_far"
WAITING: Final = 4
"""So many may ask for a state while one is being rebuilt; it takes a second or more each."""


class State(NamedTuple):
    """A state, as JSON, and the sequence that it is of."""

    body: str
    sequence: int


class States:
    """States at moments; one is rebuilt at a time, beside all other requests.

    Args:
        checkpoints: Where they come from.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self._checkpoints = checkpoints
        self._one = asyncio.Lock()
        self._asking = 0

    async def at(self, moment: Moment, service: str | None, *, tokens: int) -> State:
        """Return the state at a moment.

        Args:
            moment: The moment.
            service: Who sees it; None for one that may see everything.
            tokens: How many tokens are told at most.

        Raises:
            Problem: The log does not reach that moment (404), or too much would have to be read (400).
            Refusal: Too many ask at once (`BUSY`).
            EventStoreError: The log cannot be read.
            ProjectionError: A checkpoint cannot be written.
        """
        if self._asking > WAITING:
            raise Refusal(Code.BUSY, "other states are being rebuilt")
        self._asking += 1
        try:
            async with self._one:
                with await self._checkpoints.state(moment) as state:
                    part = await asyncio.to_thread(state.part, service, newest_tokens=tokens)
                    return State(await asyncio.to_thread(to_json, part), state.sequence)
        except NoSuchMoment as error:
            raise Problem(HTTPStatus.NOT_FOUND, NO_SUCH_MOMENT, error.reason) from error
        except TooFarToRead as error:
            raise Problem(HTTPStatus.BAD_REQUEST, TOO_FAR, str(error)) from error
        finally:
            self._asking -= 1
