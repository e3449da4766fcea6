"""The results of health checks, and which parts of them are public."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """From best to worst. Degraded: the site works, but needs attention. Maintenance: writes are blocked."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    MAINTENANCE = "maintenance"
    UNHEALTHY = "unhealthy"


def worst(statuses: Iterable[Status]) -> Status:
    return max(statuses, key=list(Status).index, default=Status.HEALTHY)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """One check. `error` is the class of what went wrong, for everyone; `detail` is a sentence for staff."""

    status: Status = Status.HEALTHY
    error: str = ""
    detail: str = ""
    seconds: float = field(default=0.0, compare=False)
    """How long it took."""

    def as_dict(self, *, details: bool) -> dict[str, str]:
        shown = {"status": str(self.status), "error": self.error, "detail": self.detail if details else ""}
        return {key: value for key, value in shown.items() if value}


@dataclass(frozen=True, kw_only=True)
class HealthReport:
    """The answer of ``/health/`` and ``manage.py check_database``.

    `query_time_ms` is None when the database did not answer, `pool_info` where there is no pool. The pool belongs to
    one process, which `pool_scope` names; other processes have pools of their own.
    """

    database_type: str
    query_time_ms: float | None
    pool_info: Mapping[str, int] | None
    pool_scope: str
    version: str
    checks: Mapping[str, CheckResult]

    @property
    def status(self) -> Status:
        return worst(check.status for check in self.checks.values())

    def as_dict(self, *, details: bool) -> dict[str, Any]:
        """For JSON. Without `details` it has no host, user, path or message of another program."""
        return {
            "status": str(self.status),
            "database_type": self.database_type,
            "query_time_ms": self.query_time_ms,
            "pool_info": self.pool_info and dict(self.pool_info),
            "pool_scope": self.pool_scope,
            "version": self.version,
            "checks": {name: check.as_dict(details=details) for name, check in self.checks.items()},
        }
