"""An answer to come, told at once when it is known.

`asyncio.Future` tells those who wait in a later turn of the event loop, each by a callback of its own: that
is dear where hundreds of answers become known together.  This one has the same methods, as far as they are
needed, and can be awaited like it.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Pending(Generic[Value]):
    """A value to come, or the error that comes in its place."""

    __slots__ = ("_cancelled", "_error", "_known", "_tell", "_value")

    def __init__(self) -> None:
        self._known = False
        self._cancelled = False
        self._value: Value | None = None
        self._error: BaseException | None = None
        self._tell: list[Callable[[Pending[Value]], None]] | None = None

    @classmethod
    def known(cls, value: Value) -> "Pending[Value]":
        """Return one whose value is known."""
        pending = cls()
        pending.set_result(value)
        return pending

    def done(self) -> bool:
        """Whether it is known, or nobody wants it any more."""
        return self._known

    def cancelled(self) -> bool:
        """Whether nobody wants it any more."""
        return self._cancelled

    def cancel(self) -> None:
        """Say that nobody wants it any more."""
        if not self._known:
            self._cancelled = True
            self.set_exception(asyncio.CancelledError())

    def result(self) -> Value:
        """Return the value.

        Raises:
            BaseException: The error that came in its place.
        """
        if self._error is not None:
            raise self._error.with_traceback(None)  # it may be raised to many, and gather what each adds
        return self._value  # type: ignore[return-value]  # it is known

    def exception(self) -> BaseException | None:
        """Return the error that came in its place."""
        return self._error

    def set_result(self, value: Value) -> None:
        """Make it known; those who wait are told now."""
        self._known = True
        self._value = value
        if self._tell is not None:
            self._tell_all()

    def set_exception(self, error: BaseException) -> None:
        """Make it known that there will be none; those who wait are told now."""
        self._known = True
        self._error = error
        if self._tell is not None:
            self._tell_all()

    def add_done_callback(self, tell: Callable[["Pending[Value]"], None]) -> None:
        """Have somebody told, who must not raise: now, if it is known."""
        if self._known:
            tell(self)
        elif self._tell is None:
            self._tell = [tell]
        else:
            self._tell.append(tell)

    def __await__(self) -> Generator[object, None, Value]:
        if not self._known:
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()

            def wake(_: Pending[Value]) -> None:
                if not woken.done():
                    woken.set_result(None)

            self.add_done_callback(wake)
            try:
                yield from woken
            except asyncio.CancelledError:
                self.cancel()
                raise
        return self.result()

    def _tell_all(self) -> None:
        told, self._tell = self._tell, None
        for tell in told or ():
            tell(self)
