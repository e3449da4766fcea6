"""The used and available space, power and weight of a rack, with warnings."""

from dataclasses import dataclass

WARNING_PERCENT = 90


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """`used` of `limit` in `unit`; a `limit` of None is unknown. `unknown` devices have no value on record."""

    name: str
    used: float
    limit: float | None
    unit: str
    unknown: int = 0
    warns: bool = True

    @property
    def percent(self) -> int | None:
        """Rounded down, so that 100 means full; None where the limit is unknown."""
        return int(100 * self.used / self.limit) if self.limit else None

    @property
    def bar(self) -> int:
        """The filled part of the bar, in percent."""
        return min(self.percent or 0, 100)

    @property
    def level(self) -> str:
        """``over``, ``nearly`` or ``fine``."""
        if not self.warns or self.percent is None or self.limit is None:
            return "fine"
        if self.used > self.limit:
            return "over"
        return "nearly" if self.percent >= WARNING_PERCENT else "fine"

    @property
    def text(self) -> str:
        """``1250 of 5000 W``, or ``1250 W`` where the limit is unknown."""
        if self.limit is None:
            return f"{self.used:.6g} {self.unit}"
        return f"{self.used:.6g} of {self.limit:.6g} {self.unit}"

    @property
    def note(self) -> str:
        if not self.unknown:
            return ""
        return f"{self.unknown} device{'s have' if self.unknown > 1 else ' has'} no value on record"

    @property
    def warning(self) -> str:
        """The warning as a sentence, or an empty string."""
        if self.level == "over" and self.limit is not None:
            return f"{self.name}: {self.text}, {self.used - self.limit:.6g} {self.unit} over the limit."
        if self.level == "nearly":
            return f"{self.name}: {self.text} ({self.percent}%), nearly used up."
        return ""
