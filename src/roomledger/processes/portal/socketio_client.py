"""One existing client: what it asks and is told by Socket.IO, in the words of its version."""

import asyncio
from typing import Any, Final, NamedTuple

from roomledger.domain import ticket as tickets
from roomledger.domain.errors import Code, Refusal
from roomledger.processes.portal import socketio_answers as answers
from roomledger.processes.portal import socketio_requests as requests
from roomledger.processes.portal.lobby import Lobby
from roomledger.processes.portal.notifications import Notification
from roomledger.processes.portal.rates import Allowance
from roomledger.processes.portal.recollection import Told
from roomledger.processes.portal.seat import Seat
from roomledger.processes.portal.session import State
from roomledger.processes.portal.session_effects import (
    CloseCode,
    Login,
    Logout,
    Problem,
    Refreshed,
    RefreshTicket,
    Relogin,
    Request,
    Resumption,
    SendText,
    Value,
)
from roomledger.processes.portal.socketio_engine import Line, Pushed, event
from roomledger.processes.portal.socketio_requests import Unfit, Version
from roomledger.sdk.rooms import JoinedRoom

_COMES_BACK: Final = frozenset({CloseCode.RESTART, CloseCode.GOING_AWAY})
"""Closed for these, a client tries to connect again by itself."""
EXCESS: Final = 1000
"""How many requests beyond its rate are refused before a client is sent away."""


class _Asked(NamedTuple):
    """A request that the session works on.

    Attributes:
        event: Which one.
        ack: The number to answer it under; None if no answer is wanted.
    """

    event: str
    ack: int | None


class SocketClient:
    """The client at the end of a line.

    Args:
        line: Its line.
        lobby: Has done what its sessions want.
        login_s: A client that has not logged in by then is sent away, in seconds.
        rate: How many requests it may send in a second.
    """

    def __init__(self, line: Line, lobby: Lobby, *, login_s: float, rate: float) -> None:
        self._line = line
        self._lobby = lobby
        self._login_s = login_s
        self._now = asyncio.get_running_loop().time
        self._allowance = Allowance(rate, self._now())
        self._excess = 0
        self._version = Version.LEGACY
        self._seat = Seat(lobby, self, login_s)

    # -- In, from the line

    def asked(self, event: str, arguments: list[Any], ack: int | None) -> None:
        """Take a request, of whatever shape."""
        wait_ms = self._allowance.take(self._now())
        if wait_ms is not None:
            self._refuse_excess(ack)
            return
        try:
            request = self._read(event, arguments)
        except Unfit as unfit:
            self._acknowledge(ack, answers.ERROR, unfit.text)
            if event in requests.LOGINS:
                self._seat.unfit()
        else:
            self._seat.ask(_Asked(event, ack), request)

    def lost(self) -> None:
        """Take it that the line is closed."""
        self._seat.lost()

    def slow(self) -> None:
        """Take it that more waits for the client than is kept: it is to connect again."""
        self._seat.lost()
        self._line.hang_up(farewell=False)

    def pinged(self) -> None:
        """Take it that the client is asked whether it is there."""
        self._seat.pinged()

    def ponged(self) -> None:
        """Take it that the client answered the last ping."""
        self._seat.ponged()

    def end(self, code: CloseCode, reason: str) -> None:
        """End the connection for a reason that is the portal's."""
        self._seat.end(code, reason)

    def _refuse_excess(self, ack: int | None) -> None:
        self._excess += 1
        if self._excess > EXCESS:
            self._seat.end(CloseCode.POLICY, "too many messages")
        else:
            self._acknowledge(ack, answers.ERROR, "too many messages")

    def _read(self, event: str, arguments: list[Any]) -> Request:
        state = self._seat.state
        if event in requests.LOGINS:
            if state is not State.INITIALIZED:
                raise Unfit(answers.IN_SERVICE)
            return self._login(arguments) if event == requests.LOGIN else _relogin(arguments)
        if state is not State.CONNECTED:
            raise Unfit(answers.ILLEGAL)
        return self._request(event, arguments)

    def _login(self, arguments: list[Any]) -> Login:
        wish = requests.login(arguments)
        self._version = wish.version
        return Login(wish.token, wish.reconnect, wish.version)

    def _request(self, event: str, arguments: list[Any]) -> Request:
        legacy = self._version is Version.LEGACY
        if event == requests.TEXT or (event == requests.CUSTOM_MESSAGE and legacy):
            read = requests.text if event == requests.TEXT else requests.custom_message
            wish = read(arguments)
            return SendText(wish.to, wish.message)
        if event == requests.REFRESH:
            return RefreshTicket()
        if event == requests.LOGOUT:
            return Logout()
        raise Unfit(answers.ILLEGAL)

    # -- Out, for the seat

    def answer(self, to: _Asked, value: Value, ticket: str | None) -> None:
        """Answer a request."""
        match value:
            case JoinedRoom():
                self._acknowledge(
                    to.ack, self._version.done, answers.login_result(value, ticket, self._version)
                )
            case Resumption():
                self._version = Version(value.protocol)
                self._resumed(to, value, ticket or "")
            case Refreshed():
                self._acknowledge(to.ack, self._version.done, ticket)
            case _:
                self._acknowledge(to.ack, self._version.done)

    def refuse(self, to: _Asked, problem: Problem) -> None:
        """Answer a request with an error."""
        if to.event == requests.REFRESH and problem.code == Code.INVALID_TICKET:
            text = answers.NOT_ALLOWED
        else:
            text = answers.refusal(problem)
        self._acknowledge(to.ack, answers.ERROR, text)

    def notify(self, told: Told) -> None:
        """Tell what happened in the room."""
        packet = told.news.written(_legacy_packet if self._version is Version.LEGACY else _packet)
        if packet is not None:
            self._line.push(packet)

    def dropped(self, reason: str) -> None:
        """Tell the client that it is out; its protocol has no place for why."""
        del reason
        self._line.push(_DROP)

    def close(self, code: CloseCode, reason: str) -> None:
        """Close the line; after a logout it stays, for another login."""
        del reason
        if code is CloseCode.LOGOUT:
            self._seat = Seat(self._lobby, self, self._login_s)
        else:
            self._line.hang_up(farewell=code not in _COMES_BACK)

    def _resumed(self, to: _Asked, value: Resumption, ticket: str) -> None:
        if self._version is Version.V1_2:
            self._acknowledge(to.ack, self._version.done, answers.resumption(ticket, value.missed))
            return
        self._acknowledge(to.ack, self._version.done, ticket)
        for told in value.missed:
            self.notify(told)

    def _acknowledge(self, ack: int | None, *arguments: object) -> None:
        if ack is not None:
            self._line.answer(ack, *arguments)


def _relogin(arguments: list[Any]) -> Relogin:
    text = requests.ticket(arguments)
    try:
        protocol = tickets.read(text)[0].protocol
    except Refusal as refusal:
        raise Unfit(str(refusal)) from refusal
    if protocol not in {version.value for version in Version}:
        raise Unfit(answers.NOT_ALLOWED)
    return Relogin(text)


def _packet(notification: Notification) -> Pushed | None:
    said = answers.event(notification)
    return None if said is None else event(*said)


def _legacy_packet(notification: Notification) -> Pushed | None:
    said = answers.legacy_event(notification)
    return None if said is None else event(*said)


_DROP: Final = event(answers.DROP, None)
