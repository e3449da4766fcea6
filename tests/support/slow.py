"""Which values of a parametrized test are ordinary; the others are slow, and `make test-slow` runs them."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pytest


def slow_except(values: Iterable[Any], *ordinary: Any) -> list[Any]:
    """All `values` as parameters of a test. Those that are not `ordinary` are slow.

    The values of a mapping are named by its keys, and so are the `ordinary` ones.
    """
    found = [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)),
            marks=[] if name in ordinary else pytest.mark.slow,
            id=name if isinstance(values, Mapping) else None,
        )
        for name, value in (values.items() if isinstance(values, Mapping) else ((value, value) for value in values))
    ]
    assert sum(not parameter.marks for parameter in found) == len(ordinary), ordinary
    return found


def each_once(*axes: Sequence[Any]) -> list[Any]:
    """All combinations of the values of the `axes`. A few in which each value occurs are ordinary, the others slow."""
    size = max(map(len, axes))
    ordinary = {tuple(number % len(axis) for axis in axes) for number in range(size)}
    return [
        pytest.param(
            *(axis[number] for axis, number in zip(axes, numbers, strict=True)),
            marks=[] if numbers in ordinary else pytest.mark.slow,
        )
        for numbers in itertools.product(*map(range, map(len, axes)))
    ]
