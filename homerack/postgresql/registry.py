"""The pools of this process: one for each alias and target database."""

import os
import threading
import weakref
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from homerack.postgresql.pool import ConnectionPool

Key = tuple[str, Hashable]


class PoolRegistry:
    """Pools by ``(alias, target)``. A forked child starts with none."""

    def __init__(self) -> None:
        self._pools: dict[Key, ConnectionPool] = {}
        self._lock = threading.Lock()
        # Includes pools that were disposed of, as long as some of their connections are in use.
        self._made: weakref.WeakSet[ConnectionPool] = weakref.WeakSet()
        self._inherited: list[ConnectionPool] = []

    def get_or_create(self, key: Key, make: Callable[[], "ConnectionPool"]) -> "ConnectionPool":
        if pool := self._pools.get(key):
            return pool
        with self._lock:
            if key not in self._pools:
                self._pools[key] = make()
                self._made.add(self._pools[key])
            return self._pools[key]

    def dispose(self, alias: str) -> None:
        """Dispose of all pools of `alias`, whatever their target."""
        with self._lock:
            pools = [self._pools.pop(key) for key in tuple(self._pools) if key[0] == alias]
        for pool in pools:
            pool.dispose()

    def forget_inherited(self) -> None:
        """In a forked child: drop the parent's pools without using their sockets.

        They are kept referenced, because collecting them would send a reset through the parent's connections. The lock
        is replaced, because another thread of the parent may have held it at the fork and does not exist here.
        """
        self._lock = threading.Lock()
        for pool in tuple(self._made):
            pool.inherited = True
            self._inherited.append(pool)
        self._pools = {}


pools = PoolRegistry()
os.register_at_fork(after_in_child=pools.forget_inherited)
