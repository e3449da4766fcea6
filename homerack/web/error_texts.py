"""The sentences of the error pages."""

from dataclasses import dataclass, replace
from http import HTTPStatus

from django.conf import settings
from django.core.exceptions import (
    DisallowedHost,
    RequestDataTooBig,
    SuspiciousMultipartForm,
    TooManyFieldsSent,
    TooManyFilesSent,
)


@dataclass(frozen=True, kw_only=True)
class ErrorPage:
    """`text` is what happened, `changed` what was changed; `advice` is for the user, `operator` for the operator."""

    status: HTTPStatus
    title: str
    text: str
    changed: str = "Nothing was changed."
    advice: str = ""
    reasons: tuple[str, ...] = ()
    operator: str = ""
    leads_on: bool = True
    """Whether links of the site can work for this user."""

    def with_text(self, text: str) -> "ErrorPage":
        """With another sentence, and without the advice that belongs to the usual one."""
        return replace(self, text=text, advice="")

    def for_reading(self) -> "ErrorPage":
        """For a request that only reads."""
        return replace(self, changed="Nothing was changed.", advice="Reload the page in a moment.")


NOT_SAVED = "The form was not saved."
BACK = "Your browser’s Back button returns to what you typed."

MALFORMED = ErrorPage(
    status=HTTPStatus.BAD_REQUEST,
    title="This request was refused",
    text="HomeRack cannot read what your browser sent.",
    advice="Go back, reload the page, and try again.",
)
UNKNOWN_HOST = ErrorPage(
    status=HTTPStatus.BAD_REQUEST,
    title="Unknown address",
    text="HomeRack does not accept requests under the host name that your browser used.",
    advice="Use the address that the operator gave you.",
    operator="add the host name to ALLOWED_HOSTS and restart the site.",
    leads_on=False,
)
TOO_LARGE = ErrorPage(
    status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    title="The form is too large",
    text=(
        f"A form may have {settings.DATA_UPLOAD_MAX_MEMORY_SIZE / 1_000_000:g} MB."
        " Only backups and device types may be larger."
    ),
    changed=NOT_SAVED,
    advice=f"{BACK} Shorten it, or save it in parts.",
)
TOO_MANY_FIELDS = ErrorPage(
    status=HTTPStatus.BAD_REQUEST,
    title="The form has too many fields",
    text=f"A form may have {settings.DATA_UPLOAD_MAX_NUMBER_FIELDS} fields.",
    changed=NOT_SAVED,
    advice=f"{BACK} Select fewer rows, or save the form in parts.",
)
TOO_MANY_FILES = ErrorPage(
    status=HTTPStatus.BAD_REQUEST,
    title="The form has too many files",
    text=f"A form may have {settings.DATA_UPLOAD_MAX_NUMBER_FILES} files.",
    changed="Nothing was uploaded.",
    advice="Go back, and choose a zip archive of them, or fewer.",
)
NO_FILES = ErrorPage(
    status=HTTPStatus.BAD_REQUEST,
    title="This page accepts no files",
    text="The form that your browser sent has a file. Only the pages that upload backups and device types accept one.",
    changed=NOT_SAVED,
    advice="Go back, remove the file, and send the form again.",
)
REFUSED: dict[type[Exception], ErrorPage] = {
    DisallowedHost: UNKNOWN_HOST,
    RequestDataTooBig: TOO_LARGE,
    TooManyFieldsSent: TOO_MANY_FIELDS,
    TooManyFilesSent: TOO_MANY_FILES,
    SuspiciousMultipartForm: NO_FILES,
}
"""The pages of exceptions that Django answers with 400."""

FORBIDDEN = ErrorPage(
    status=HTTPStatus.FORBIDDEN,
    title="No permission",
    text="Your account has no permission for this page or action.",
    advice="Ask an administrator for the permission, or sign in as a user who has it.",
)
NOT_FOUND = ErrorPage(
    status=HTTPStatus.NOT_FOUND,
    title="Page not found",
    text="There is no page at this address. It may be misspelt, or what it showed was deleted.",
    advice="Check the address, or go back.",
)
METHOD = ErrorPage(
    status=HTTPStatus.METHOD_NOT_ALLOWED,
    title="This address shows no page",
    text="It only receives forms from another page. Reloaded tabs and bookmarks can lead here.",
    advice="Go back, and use the button on that page.",
)
CSRF = ErrorPage(
    status=HTTPStatus.FORBIDDEN,
    title="The form has expired",
    text="HomeRack accepts a form only from the browser that opened its page, and this one could not be confirmed.",
    reasons=(
        "You signed in or out in another tab or window after you had opened the page.",
        "A restore ended all sessions, and you signed in again in another tab.",
        "Your browser blocks the cookies of this site, or they were deleted.",
    ),
    changed=NOT_SAVED,
    advice=f"{BACK} Copy it, reload that page, and save again. Allow cookies for this site if the page returns.",
)
UNKNOWN_ORIGIN = ErrorPage(
    status=HTTPStatus.FORBIDDEN,
    title="Unknown origin of the form",
    text="Your browser sent the form from an address that HomeRack does not know as its own.",
    changed=NOT_SAVED,
    advice="Use the address that the operator gave you.",
    operator="add the address, with https://, to CSRF_TRUSTED_ORIGINS. Behind a proxy, set BEHIND_PROXY=true.",
)
LOOK_IN_LOG = "The log of the web server has the cause under the id below."
FAILED = ErrorPage(
    status=HTTPStatus.INTERNAL_SERVER_ERROR,
    title="Something went wrong",
    text="HomeRack could not finish the request, because of an error in the program or on the server.",
    changed="Your changes may not have been saved.",
    advice="Look at the page before you send the form again.",
    operator=f"{LOOK_IN_LOG} The page /health/full/ may name what failed.",
)
DATABASE_FAILED = replace(
    FAILED,
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    title="The database does not answer",
    text="HomeRack could not read or write its data.",
    operator=f"{LOOK_IN_LOG} Run manage.py check_database, or see the page /health/full/.",
)
NO_ANSWER = replace(
    DATABASE_FAILED,
    text="The database server did not answer in time. It may be overloaded or frozen, or another one is taking over.",
)
UNREACHABLE = replace(
    DATABASE_FAILED,
    text="HomeRack could not connect to the database server. It may be restarting, or another one is taking over.",
)
NO_WRITABLE_SERVER = replace(
    DATABASE_FAILED,
    title="The database cannot be changed now",
    text="No database server accepts changes yet. Another one may be taking over.",
)
CONNECTION_LOST = replace(
    DATABASE_FAILED,
    title="The connection to the database was lost",
    text="The database server ended the connection, or it is restarting, or another server is taking over.",
)
COMMIT_UNKNOWN = replace(
    CONNECTION_LOST,
    text="The connection was lost while HomeRack was saving.",
    changed="It is not known whether this was saved.",
    advice="Check before you send the form again.",
)
READ_ONLY = replace(
    DATABASE_FAILED,
    title="The database cannot be changed now",
    text="The database server only reads at the moment. Another server may be taking over.",
    changed="Nothing was saved.",
    advice=f"{BACK} Send the form again in a moment.",
)
QUERY_CANCELLED = replace(
    DATABASE_FAILED,
    title="The database took too long",
    text="A query was cancelled because it took longer than this site allows.",
    operator=f"{LOOK_IN_LOG} DB_STATEMENT_TIMEOUT is the limit.",
)
CONNECTIONS_IN_USE = replace(
    DATABASE_FAILED,
    title="The site is busy",
    text="All connections to the database are in use.",
)
DATABASE_LOCKED = replace(
    DATABASE_FAILED,
    title="The database is locked",
    text="Another process has been writing to the database for too long.",
    operator=f"{LOOK_IN_LOG} Find the process that keeps the file open: a backup or another program.",
)
BUSY = ErrorPage(
    status=HTTPStatus.SERVICE_UNAVAILABLE,
    title="The site is busy",
    text="All threads of the web server are busy.",
    advice="Reload the page in a few seconds.",
)
