"""Who calls: the header ``Authorization`` of a request, and the service that it proves."""

from collections.abc import Callable
from http import HTTPStatus
from time import time_ns
from typing import Final

from roomledger.processes.management_api.errors import Problem
from roomledger.processes.management_api.mauth import NotSigned, Replays, Signed
from roomledger.processes.management_api.services import Service, Services
from roomledger_events.identifiers import InvalidId, check_id

MAX_HEADER: Final = 2048
"""The longest header that is looked at, in characters."""


class Authentication:
    """Finds the service that a request comes from.

    Args:
        services: The services that there are.
        replays: The signed headers that were used.
        clock: Milliseconds since the epoch.
    """

    def __init__(
        self,
        services: Services,
        replays: Replays,
        *,
        clock: Callable[[], int] = lambda: time_ns() // 1_000_000,
    ) -> None:
        self._services = services
        self._replays = replays
        self._clock = clock

    async def service(self, header: str | None) -> Service:
        """Return the service that the header ``Authorization`` proves.

        Raises:
            Problem: It proves none (401).
            LogUnavailable: The services, or the headers that were used, cannot be looked up.
        """
        if not header:
            raise _unauthenticated("send Authorization: Bearer <service key>")
        if len(header) > MAX_HEADER:
            raise _unauthenticated(f"the header Authorization has at most {MAX_HEADER} characters")
        scheme, _, parameters = header.strip().partition(" ")
        if scheme.lower() == "bearer":
            service = await self._services.authenticate(parameters.strip())
            if service is None:
                raise _unauthenticated("this key belongs to no service")
            return service
        if scheme.lower() == "mauth":
            return await self._signed(parameters)
        raise _unauthenticated("only Bearer and MAuth are understood")

    async def _signed(self, parameters: str) -> Service:
        try:
            signed = Signed.read(parameters)
            service = await self._services.get(check_id(signed.service))
            if service is None:
                raise _unauthenticated("MAuth: there is no such service")
            signed.check(service.key, self._clock())
            await self._replays.accept(signed)
        except (NotSigned, InvalidId) as error:
            raise _unauthenticated(f"MAuth: {error}") from error
        return service


def _unauthenticated(detail: str) -> Problem:
    challenge = {"WWW-Authenticate": 'Bearer realm="roomledger", MAuth realm="roomledger"'}
    return Problem(HTTPStatus.UNAUTHORIZED, "unauthenticated", detail, headers=challenge)
