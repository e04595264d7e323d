"""Bounded queue between the threads of the worker that can be closed from either side."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

_Item = TypeVar("_Item")


class QueueClosed(Exception):
    """The queue takes nothing more, or is closed and empty."""


class QueueTimeout(Exception):
    """Nothing moved in time."""


class MessageQueue(Generic[_Item]):
    """First in, first out, at most `capacity` items. Safe for any number of threads."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._items: deque[_Item] = deque()
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: _Item, timeout_s: float) -> None:
        """Waits for room. Raises QueueClosed or QueueTimeout."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._wait(lambda: self._closed or len(self._items) < self._capacity, deadline)
            if self._closed:
                raise QueueClosed
            self._items.append(item)
            self._changed.notify_all()

    def get(self, timeout_s: float) -> _Item:
        """The oldest item; items put before the close are still given. Raises QueueClosed or QueueTimeout."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            self._wait(lambda: self._closed or bool(self._items), deadline)
            if not self._items:
                raise QueueClosed
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def close(self) -> None:
        """No more puts; wakes everybody who waits. May be called again."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def drain(self, idle_timeout_s: float) -> Iterator[_Item]:
        """Items until the queue is closed and empty. Raises QueueTimeout when none came for `idle_timeout_s`."""
        while True:
            try:
                yield self.get(idle_timeout_s)
            except QueueClosed:
                return

    def _wait(self, ready: Callable[[], bool], deadline: float) -> None:
        if not self._changed.wait_for(ready, timeout=max(0.0, deadline - time.monotonic())):
            raise QueueTimeout
