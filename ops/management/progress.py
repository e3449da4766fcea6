"""A console that shows no control characters, and the display of progress: bars in a terminal, else plain lines."""

import time
from collections.abc import Iterable
from contextlib import AbstractContextManager
from types import TracebackType
from typing import IO, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Display
from rich.segment import Segment
from rich.text import Text

from ops.utils.formatting import format_duration
from ops.utils.printable import printable
from ops.utils.progress import Progress, StageTimer

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_FRAMES = 0.1


class PrintableConsole(Console):
    """Shows untrusted text: only the control characters of rich itself reach the terminal."""

    def __init__(self, file: IO[str]) -> None:
        # Without emoji a note such as :boom: is shown as it is.
        super().__init__(file=file, highlight=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Replace control characters before the text is measured, so that columns are as wide as their text."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Replace control characters also in texts that were not rendered by `render_str`, such as progress columns."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


class RateColumn(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:,.0f}/s" if speed else "", style="progress.data.speed")


class ProgressReporter(AbstractContextManager["ProgressReporter"]):
    """Shows the reports of an operation: its stages, their durations, and the progress of all items together."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.timer = StageTimer()

    def __call__(self, report: Progress) -> None:
        begins = report.stage != self.timer.stage
        if begins:
            self.end_stage()
        self.timer.report(report)
        if begins:
            self.show_stage()
        self.show(report)

    def end_stage(self) -> None:
        if stage := self.timer.stage:
            self.console.print(f"[green]✓[/green] {stage} [dim]{format_duration(self.timer.end_stage())}[/dim]")

    def show_stage(self) -> None:
        """A stage begins."""

    def show(self, report: Progress) -> None:
        """Progress within a stage."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end_stage()


class BarReporter(ProgressReporter):
    """A bar for the stage with the remaining time, and one for each current table with its rows per second."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.tasks: dict[str, TaskID] = {}
        self.display = Display(
            TextColumn("{task.description}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            RateColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            # Without a thread, because processes are forked while the bars are shown.
            auto_refresh=False,
        )
        self.refreshed = 0.0

    def __enter__(self) -> "BarReporter":
        self.display.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        self.display.stop()

    def end_stage(self) -> None:
        for task in self.tasks.values():
            self.display.remove_task(task)
        self.tasks.clear()
        super().end_stage()

    def show_stage(self) -> None:
        self.tasks[""] = self.display.add_task(f"[bold]{escape(self.timer.stage)}", total=None)

    def show(self, report: Progress) -> None:
        self.display.update(self.tasks[""], completed=self.timer.done, total=self.timer.total or None)
        if report.item:
            if report.item not in self.tasks:
                # Before the column measures it.
                name = escape(printable(report.item))
                self.tasks[report.item] = self.display.add_task(f"  {name}", total=report.total or None)
            ended = report.done >= report.total
            self.display.update(self.tasks[report.item], completed=report.done, visible=not ended)
        if time.monotonic() - self.refreshed > SECONDS_BETWEEN_FRAMES:
            self.refreshed = time.monotonic()
            self.display.refresh()


class LineReporter(ProgressReporter):
    """A line at the end of each stage, and every `SECONDS_BETWEEN_LINES` within long ones."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.last = time.monotonic()

    def show(self, report: Progress) -> None:
        if time.monotonic() - self.last > SECONDS_BETWEEN_LINES and self.timer.total:
            self.last = time.monotonic()
            item = f", now {report.item}" if report.item else ""
            done = f"{self.timer.done:,} of {self.timer.total:,}{item}"
            self.console.print(f"  {self.timer.stage}: {done}", markup=False)


def get_reporter(console: Console) -> ProgressReporter:
    """Bars for a terminal, lines for anything else."""
    return BarReporter(console) if console.is_terminal else LineReporter(console)
