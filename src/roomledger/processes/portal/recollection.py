"""What a client missed that came back, as it follows from the room's events since its ticket was issued.

A client that says up to where it was told gets what came after that. One that does not say so gets what came

    after its old connection was known to be told, where the portal that lost it recorded how far that was;
    since some time before its old connection was given up, where the portal died without a word, or the
    connection was not known to be lost at all: a notification that comes twice is better than none;
    never what came before its ticket was issued.

Notifications are numbered from the count in the ticket, on and back.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from roomledger.processes.portal.notifications import COUNTED, Moved, News, Notification, is_for, take_in
from roomledger_events.envelope import Address, Commit

SILENCE: Final = timedelta(seconds=120)
"""How long at most a connection may have been dead before that was in the log: a ping, its answer, the
portal's lease, and an outage of the log."""


class Told(NamedTuple):
    """A notification for one client.

    Attributes:
        number: The how-manyth of its session, from 1; of one that does not count, that of the one before.
        news: What it is.
    """

    number: int
    news: News


class Recollection:
    """Takes in the commits of a room and its texts from `start` on, to find what one client missed.

    Args:
        participant: Whose session it is.
        told: Up to where the client had been told when its ticket was issued.
        count: How many notifications had been by then.
        after: Up to where it says it was told; None if it does not say so.
        joined: Where it joined: nothing before that is its concern.

    Attributes:
        start: The first sequence that matters.
    """

    def __init__(
        self, participant: str, *, told: Address, count: int, after: Address | None, joined: Address
    ) -> None:
        self._participant = participant
        self._told = told
        self._after = None if after is None else max(after, joined)
        self.start = min(told, self._after or told).sequence
        self._counted = count
        self._heard: list[tuple[datetime, News]] = []
        self._known: Address | None = None
        self._lost_at: datetime | None = None
        self._connected = True

    def take(self, commit: Commit) -> None:
        """Take a commit in."""
        for news in take_in(commit):
            notification = news.notification
            if isinstance(notification, Moved):
                if notification.participant == self._participant and notification.address > self._told:
                    self._moved(notification, commit.time)
            elif is_for(notification, self._participant):
                self._heard.append((commit.time, news))

    def since(self, until: Address) -> Address:
        """Return up to where the client has been told.

        Args:
            until: Where it came back.
        """
        if self._after is not None:
            return min(self._after, until)
        if self._known is not None:
            return max(self._told, self._known)
        if self._lost_at is None:
            return self._told
        surely = [_address(news) for time, news in self._heard if time < self._lost_at - SILENCE]
        return max([self._told, *surely])

    def missed(self, until: Address) -> tuple[Told, ...]:
        """Return what the client missed up to where it came back."""
        since = self.since(until)
        return tuple(told for told in self._numbered() if since < _address(told.news) <= until)

    def count(self, until: Address) -> int:
        """Return how many notifications its session has had up to an address; not before `start`."""
        number = self._first
        for told in self._numbered():
            if _address(told.news) <= until:
                number = told.number
        return number

    @property
    def _first(self) -> int:
        """How many there had been before all that is remembered; the ticket tells how many by it."""
        return self._counted - sum(_counts(news) for _, news in self._heard if _address(news) <= self._told)

    def _numbered(self) -> Iterator[Told]:
        number = self._first
        for _, news in self._heard:
            number += _counts(news)
            yield Told(number, news)

    def _moved(self, moved: Moved, time: datetime) -> None:
        if moved.away:
            self._known, self._lost_at = moved.told, time
        elif self._connected:
            self._known, self._lost_at = None, time
        self._connected = not moved.away


def _address(news: News) -> Address:
    notification: Notification = news.notification
    return notification.address


def _counts(news: News) -> bool:
    return isinstance(news.notification, COUNTED)
