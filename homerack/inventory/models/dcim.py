"""Connections to DCIM software, from which hardware catalogues can be read."""

from django.core.validators import RegexValidator
from django.db import models
from django.utils import timezone

from homerack.inventory.models.base import ValidatedModel
from homerack.inventory.models.choices import DcimType
from homerack.ordering import Alphabetical


class DcimConnection(ValidatedModel):
    """The address of a NetBox, RackTables or Ralph."""

    name = models.CharField("name", max_length=200)
    type = models.CharField("software", max_length=20, choices=DcimType)
    # Not a URLField, which refuses the short host names of a home network.
    base_url = models.CharField(
        "URL",
        max_length=500,
        validators=[RegexValidator(r"^https?://\S+\Z", "Enter a URL that begins with http:// or https://.")],
    )
    api_token = models.CharField("API token", max_length=500, null=True, blank=True)
    is_public = models.BooleanField("public (no token)", default=False, null=True)
    last_sync = models.DateTimeField("last synchronised", null=True, blank=True)
    sync_status = models.CharField("sync status", max_length=50, null=True, blank=True)
    created_at = models.DateTimeField("created", default=timezone.now, null=True, editable=False)
    updated_at = models.DateTimeField("changed", auto_now=True, null=True)

    class Meta:
        db_table = "dcim_connections"
        ordering = (Alphabetical("name"), "pk")
        verbose_name = "DCIM connection"

    def __str__(self) -> str:
        return self.name
