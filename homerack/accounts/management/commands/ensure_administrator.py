"""Make sure that somebody can sign in to a new HomeRack."""

import secrets
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.validators import validate_email
from django.db import transaction

from homerack.accounts.models import User
from ops.utils.printable import printable

DEFAULT_EMAIL = "admin@homerack.local"


class Command(BaseCommand):
    help = "Make the first administrator with a random password, unless there is one."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", default=DEFAULT_EMAIL, help=f"who it is (default: {DEFAULT_EMAIL})")

    def handle(self, *_args: Any, email: str, **_options: Any) -> None:
        administrator = User.objects.filter(is_superuser=True, is_active=True).order_by("pk").first()
        if administrator is not None:
            self.stdout.write(printable(f"The administrator is {administrator.email}."))
            return
        password = create_administrator(email)
        self.stdout.write(printable(f"Made the administrator {email}."))
        self.stdout.write(f"Password: {password}")
        self.stdout.write("Write it down: it is not shown again.")


def create_administrator(email: str) -> str:
    """Make a superuser and give back its password. Raises CommandError and makes nobody if `email` can not be used."""
    try:
        validate_email(email)
    except ValidationError as error:
        raise CommandError(f"{email!r} is no e-mail address. Nobody was made.") from error
    password = secrets.token_urlsafe(15)
    with transaction.atomic():
        if User.objects.filter(email__iexact=email).exists():
            message = f"{email} exists and is no active administrator. Name another address with --email."
            raise CommandError(printable(message))
        User.objects.create_superuser(email, password)
    return password
