"""What can go wrong, in five words. Every error says what happened and, as `hint`, what to type or do next."""


class OpsError(Exception):
    """An operation did not succeed. The database is as it was, unless the message says otherwise.

    `message` and `hint` are sentences for a person; neither ever holds a password.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type["OpsError"], tuple[str, str]]:
        """Errors travel between processes with their hints."""
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class PreconditionFailed(OpsError):
    """Something that must hold beforehand does not. Nothing was changed."""


class AlreadyRunning(PreconditionFailed):
    """Another run holds the lock of this database."""


class ArtifactInvalid(PreconditionFailed):
    """A file is not what it should be: missing, damaged, of another kind."""


class VerificationFailed(OpsError):
    """What was written is not what was read. It was thrown away."""


class ToolFailed(OpsError):
    """A program that PostgreSQL brings along did not do its work; the message has its exit code and last words."""


class Cancelled(OpsError):
    """A person ended the operation before it changed anything."""
