"""The errors of ops. Each says what happened and, as `hint`, what to do next."""


class OpsError(Exception):
    """An operation failed. The database is unchanged, unless the message says otherwise.

    `message` and `hint` are sentences for users, without passwords.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type["OpsError"], tuple[str, str]]:
        """Errors keep their hints when they are pickled."""
        return type(self), (self.message, self.hint)

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    @property
    def text(self) -> str:
        """The message and the hint in one paragraph."""
        return f"{self.message} {self.hint}" if self.hint else self.message


class PreconditionFailed(OpsError):
    """A condition for the operation is not met. Nothing was changed."""


class AlreadyRunning(PreconditionFailed):
    """Another run holds the lock of this database. `holder` is its label, where that is known."""

    def __init__(self, message: str, hint: str = "", *, holder: str = "") -> None:
        super().__init__(message, hint)
        self.holder = holder


class ArtifactInvalid(PreconditionFailed):
    """A file is missing, damaged or of another kind."""


class VerificationFailed(OpsError):
    """What was written differs from what was read. It was discarded."""


class ToolFailed(OpsError):
    """A client program of PostgreSQL failed. The message has its exit code and the end of its standard error."""


class Cancelled(OpsError):
    """A user cancelled the operation before it changed anything."""
