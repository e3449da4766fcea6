"""System calls of the storage, of which the Nth fails."""

import os
from collections.abc import Callable
from typing import Any

CHANGING = {"open", "write", "fsync", "replace", "mkdir", "fchmod", "unlink"}


class Faulty:
    """`os` for one module. Among the calls that change something, number `at` calls `fault` instead."""

    def __init__(self, at: int, fault: Callable[[], Any]) -> None:
        self.at = at
        self.fault = fault
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in CHANGING:
            return real

        def call(*arguments: Any, **options: Any) -> Any:
            self.calls.append(name)
            if len(self.calls) == self.at:
                self.fault()
            return real(*arguments, **options)

        return call

    @property
    def happened(self) -> bool:
        return len(self.calls) >= self.at
