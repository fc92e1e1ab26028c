"""What the cluster is yet to be told of a worker's tasks, without any I/O.

- Of each task one request at a time is under way, so that the cluster hears of a task in order.
- What counts is what was wanted last: who picks a task up and lays it down while the cluster cannot be told
  tells it once, at the end.
- What could not be delivered stays, and is delivered later; except what is refused for good while the user
  waits for it, which is undone.
- A cluster that gave the worker up has freed its tasks: it is told all that are run, and no other.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from roomledger.runtime.calls import RequestMeta
from roomledger.sdk.membership_effects import LayDown, OfTasks, PickUp, Reject

TOGETHER: Final = 200
"""The most tasks that one request hands back: they become one commit, which is limited."""
AT_ONCE: Final = 64
"""The most late requests of single tasks that are under way together."""


class _Wish(NamedTuple):
    request: type[PickUp | LayDown | Reject]
    meta: RequestMeta | None


class Deliveries:
    """A worker's tasks, and what of them the cluster does not know yet.

    Attributes:
        running: The tasks that the worker runs, in the order in which they were picked up.
    """

    def __init__(self) -> None:
        self.running: dict[str, None] = {}
        self._wishes: dict[str, _Wish] = {}
        self._under_way: dict[str, _Wish] = {}

    @property
    def undelivered(self) -> int:
        """Of how many tasks the cluster does not know what it should."""
        return len(self._wishes)

    @property
    def has_room(self) -> bool:
        """Whether it is time to send more of what is late."""
        return len(self._under_way) <= AT_ONCE // 2 and len(self._wishes) > len(self._under_way)

    def want(self, task: str, request: type[OfTasks], meta: RequestMeta | None) -> None:
        """Take note of what the cluster is to be told of a task from now on."""
        if request is PickUp:
            self.running[task] = None
        else:
            self.running.pop(task, None)
        self._wishes[task] = _Wish(request, meta)

    def forgotten(self) -> None:
        """Take note that the cluster knows of no task of this worker any more."""
        self._wishes = {
            task: wish if (wish := self._wishes.get(task)) and wish.request is PickUp else _Wish(PickUp, None)
            for task in self.running
        }

    def next(self, task: str, term: int, *, awaited: bool = False) -> list[OfTasks]:
        """Return the request for one task, or none if there is nothing to tell or one is under way."""
        wish = self._wishes.get(task)
        if wish is None or task in self._under_way:
            return []
        self._under_way[task] = wish
        if wish.request is PickUp:
            return [PickUp(term, (task,), wish.meta, awaited)]
        if wish.request is LayDown:
            return [LayDown(term, task, wish.meta, awaited)]
        return [Reject(term, task, wish.meta, awaited)]

    def late(self, term: int) -> list[OfTasks]:
        """Return the requests for all that is to be told, as many as may be under way together."""
        waiting = {task: wish for task, wish in self._wishes.items() if task not in self._under_way}
        picked_up = [task for task, wish in waiting.items() if wish.request is PickUp]
        others = [task for task, wish in waiting.items() if wish.request is not PickUp]
        places = max(0, AT_ONCE - len(self._under_way))
        requests = [request for task in others[:places] for request in self.next(task, term)]
        for tasks in batched(picked_up, TOGETHER):
            if len(tasks) == 1:
                requests += self.next(tasks[0], term)
            else:
                self._under_way.update((task, waiting[task]) for task in tasks)
                requests.append(PickUp(term, tasks))
        return requests

    def delivered(self, request: OfTasks) -> None:
        """Take note that the cluster knows."""
        for task, wish in self._landed(request):
            if self._wishes.get(task) is wish:
                del self._wishes[task]

    def failed(self, request: OfTasks) -> None:
        """Take note that the cluster may not know."""
        self._landed(request)

    def undo(self, request: OfTasks) -> None:
        """Take note that the cluster will not have it, and that the user is told so."""
        for task, wish in self._landed(request):
            if self._wishes.get(task) is wish:
                del self._wishes[task]
                self.running.pop(task, None)

    def released(self, tasks: Iterable[str]) -> list[str]:
        """Let go of tasks that are another worker's, and return those that this one ran."""
        ran = [task for task in tasks if task in self.running]
        for task in ran:
            del self.running[task]
        return ran

    def taken(self, tasks: Iterable[str]) -> list[str]:
        """Let go of tasks that others have picked up, except those that this worker picks up itself again."""
        return self.released(task for task in tasks if task not in self._wishes)

    def _landed(self, request: OfTasks) -> list[tuple[str, _Wish]]:
        return [(task, self._under_way.pop(task)) for task in tasks_of(request)]


def batched(tasks: list[str], size: int) -> Iterator[tuple[str, ...]]:
    """Yield tasks in order, at most so many together."""
    for start in range(0, len(tasks), size):
        yield tuple(tasks[start : start + size])


def tasks_of(request: OfTasks) -> tuple[str, ...]:
    """Return the tasks that a request is about."""
    return request.tasks if isinstance(request, PickUp) else (request.task,)
