"""Which portal a client turns to next, and when; chance comes from outside.

A round begins with the portal where the client is, or was last; then others are asked for, and tried in turn.
Rounds come further and further apart, each by chance a little sooner or later, so that clients that were cut
off together do not all come back in the same moment.
"""

from collections.abc import Iterable
from typing import Final

SOON_S: Final = 0.25
"""The first try comes within this time."""
NEXT_S: Final = 0.05
"""Within a round, the next portal is tried within this time."""
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 3.0
_DOUBLINGS: Final = 10


class Route:
    """The way to the portals.

    Args:
        url: Of the first portal.

    Attributes:
        url: Of the portal that is tried, or where the client is.
        asked: Whether this round has asked for other portals.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._home = url
        self._rounds = 0
        self._left: list[str] = []
        self._begin()

    @property
    def is_over(self) -> bool:
        """Whether this round has tried every portal that it knows of."""
        return not self._left

    def found(self, urls: Iterable[str]) -> None:
        """Take note of other portals."""
        self.asked = True
        self._left = [url for url in dict.fromkeys(urls) if url != self._home]

    def turn(self) -> None:
        """Go to the next portal of this round."""
        self.url = self._left.pop(0)

    def again(self) -> None:
        """Begin another round."""
        self._rounds += 1
        self._begin()

    def arrived(self) -> None:
        """Take it that the client is at this portal: the next round begins here."""
        self._home = self.url
        self._rounds = 0
        self._begin()

    def pause(self, chance: float) -> float:
        """Return how many seconds to wait before the next try.

        Args:
            chance: A random number from 0 to 1.
        """
        if self.url != self._home:
            return chance * NEXT_S
        if self._rounds == 0:
            return chance * SOON_S
        doubled = FIRST_PAUSE_S * float(1 << min(self._rounds - 1, _DOUBLINGS))
        return min(LONGEST_PAUSE_S, doubled) * (0.5 + chance / 2)

    def _begin(self) -> None:
        self.url = self._home
        self.asked = False
        self._left = []
