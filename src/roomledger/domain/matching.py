"""Who could serve a task: the matchers, each as the places that a worker stands at and the places to look at.

A worker stands in one pool for each combination of what it serves, and a preference says which pools to look
at, so a decision costs the same however many workers there are.  An isp that a worker names is a must, and a
worker that names none serves everybody; a user whose isp is not known is served by those only.  A region is a
wish: where no candidate serves it, all that the isp rule let pass remain.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Final, Protocol

import msgspec

from roomledger.domain.pools import Key, Pool
from roomledger_events.tasks import Preference
from roomledger_events.workers import Capacity

ISP: Final = "isp"
REGION: Final = "region"
VIDEO: Final = "video"
ALGORITHM: Final = "algorithm"

MAX_PLACES: Final = 4_096
"""The most combinations of isp, region and need that one worker may serve."""

Codecs = tuple[frozenset[str], frozenset[str]]
"""What can be encoded to and decoded from."""

PreferenceClass = tuple[object, ...]
"""What of a preference the matcher looks at; for each such class a strategy remembers its picks."""


class Available(msgspec.Struct, frozen=True, gc=False):
    """What a matcher chooses from.

    Attributes:
        pools: All pools there are.
        needs: A need that pools exist for → how many available workers serve it.
        total: How many workers are available.
    """

    pools: Mapping[Key, Pool]
    needs: Mapping[object, int]
    total: int


class Found(msgspec.Struct, frozen=True, gc=False):
    """What a matcher leaves.

    Attributes:
        pools: Where the candidates stand; no worker stands in two of them, and none is empty.
        refused: The rule → how many available workers it refused.
    """

    pools: Sequence[Pool]
    refused: dict[str, int]


class Matcher(Protocol):
    """The rule by which the candidates of a purpose are thinned out."""

    def places(self, capacity: Capacity) -> Sequence[Key]:
        """Return the keys of the pools that a worker stands in."""

    def find(self, preference: Preference, available: Available) -> Found:
        """Return the pools whose workers match."""

    def place(self, capacity: Capacity, preference: Preference) -> Key:
        """Return the one of `places` that a preference found the worker at."""

    def class_of(self, preference: Preference) -> PreferenceClass:
        """Return the class that the preference belongs to."""


class Everybody:
    """Any worker will do."""

    KEY: Final[Key] = (None, None, None)

    def places(self, _capacity: Capacity) -> Sequence[Key]:
        """Return the one place."""
        return (self.KEY,)

    def find(self, _preference: Preference, available: Available) -> Found:
        """Return the one pool."""
        pool = available.pools.get(self.KEY)
        return Found((pool,) if pool and pool.count else (), {})

    def place(self, _capacity: Capacity, _preference: Preference) -> Key:
        """Return the one place."""
        return self.KEY

    def class_of(self, preference: Preference) -> PreferenceClass:
        """Return isp and region."""
        return preference.isp, preference.region


class ByIspAndRegion:
    """The isp is a must, the region a wish."""

    def places(self, capacity: Capacity) -> Sequence[Key]:
        """Return all combinations, each with any region as well."""
        return _places((None,), capacity)

    def find(self, preference: Preference, available: Available) -> Found:
        """Return the pools of the isp and of those that serve everybody."""
        return _near((None,), preference, available.pools, available.total, {})

    def place(self, capacity: Capacity, preference: Preference) -> Key:
        """Return where the preference found the worker."""
        return _place(None, capacity, preference)

    def class_of(self, preference: Preference) -> PreferenceClass:
        """Return isp and region."""
        return preference.isp, preference.region


class ByCodecs:
    """The codecs asked for must all be there; then isp and region."""

    def places(self, capacity: Capacity) -> Sequence[Key]:
        """Return all combinations, each for its codecs and for no particular ones."""
        return _places((None, _served(capacity)), capacity)

    def find(self, preference: Preference, available: Available) -> Found:
        """Return the pools of the codec sets that hold those asked for."""
        asked = _asked(preference)
        if asked is None:
            return _near((None,), preference, available.pools, available.total, {})
        encode, decode = asked
        needs = [
            need
            for need in available.needs
            if isinstance(need, tuple) and encode <= need[0] and decode <= need[1]
        ]
        needs.sort(key=lambda need: (sorted(need[0]), sorted(need[1])))
        count = sum(available.needs[need] for need in needs)
        refused = {VIDEO: available.total - count} if count < available.total else {}
        return _near(needs, preference, available.pools, count, refused)

    def place(self, capacity: Capacity, preference: Preference) -> Key:
        """Return where the preference found the worker."""
        return _place(None if _asked(preference) is None else _served(capacity), capacity, preference)

    def class_of(self, preference: Preference) -> PreferenceClass:
        """Return isp, region and codecs."""
        return preference.isp, preference.region, _asked(preference)


class ByAlgorithm:
    """The algorithm must be among the worker's; a task that names none fits no worker."""

    def places(self, capacity: Capacity) -> Sequence[Key]:
        """Return a place for each algorithm."""
        return [(algorithm, None, None) for algorithm in dict.fromkeys(capacity.algorithms)]

    def find(self, preference: Preference, available: Available) -> Found:
        """Return the pool of the algorithm."""
        pool = available.pools.get((preference.algorithm, None, None))
        count = pool.count if pool else 0
        refused = {ALGORITHM: available.total - count} if count < available.total else {}
        return Found((pool,) if pool and count else (), refused)

    def place(self, _capacity: Capacity, preference: Preference) -> Key:
        """Return the algorithm's place."""
        return preference.algorithm, None, None

    def class_of(self, preference: Preference) -> PreferenceClass:
        """Return isp, region and algorithm."""
        return preference.isp, preference.region, preference.algorithm


MATCHERS: Final[Mapping[str, Matcher]] = {
    "portal": ByIspAndRegion(),
    "webrtc": ByIspAndRegion(),
    "streaming": ByIspAndRegion(),
    "audio": ByIspAndRegion(),
    "video": ByCodecs(),
    "analytics": ByAlgorithm(),
}
"""Purpose → its matcher; any other purpose has `Everybody`."""


def matcher_of(purpose: str) -> Matcher:
    """Return the matcher of a purpose."""
    return MATCHERS.get(purpose, _everybody)


_everybody: Final = Everybody()


def _places(needs: Sequence[object], capacity: Capacity) -> Sequence[Key]:
    isps = dict.fromkeys(capacity.isps) or (None,)
    regions = (None, *dict.fromkeys(capacity.regions))
    return list(product(needs, isps, regions))


def _place(need: object, capacity: Capacity, preference: Preference) -> Key:
    return (
        need,
        preference.isp if capacity.isps else None,
        preference.region if preference.region in capacity.regions else None,
    )


def _near(
    needs: Sequence[object],
    preference: Preference,
    pools: Mapping[Key, Pool],
    count: int,
    refused: dict[str, int],
) -> Found:
    isp, region = preference.isp, preference.region
    anywhere, passed = _pools(pools, needs, isp, None)
    if passed < count:
        refused[ISP] = count - passed
    if region is None:
        return Found(anywhere, refused)
    near, served = _pools(pools, needs, isp, region)
    if not near:
        return Found(anywhere, refused)
    if served < passed:
        refused[REGION] = passed - served
    return Found(near, refused)


def _pools(
    pools: Mapping[Key, Pool], needs: Sequence[object], isp: str | None, region: str | None
) -> tuple[list[Pool], int]:
    found, count = [], 0
    for need in needs:
        if isp is not None:
            named = pools.get((need, isp, region))
            if named is not None and named.count:
                found.append(named)
                count += named.count
        everybodys = pools.get((need, None, region))
        if everybodys is not None and everybodys.count:
            found.append(everybodys)
            count += everybodys.count
    return found, count


def _served(capacity: Capacity) -> Codecs:
    video = capacity.video
    return (frozenset(video.encode), frozenset(video.decode)) if video else (frozenset(), frozenset())


def _asked(preference: Preference) -> Codecs | None:
    video = preference.video
    if video is None or not (video.encode or video.decode):
        return None
    return frozenset(video.encode), frozenset(video.decode)
