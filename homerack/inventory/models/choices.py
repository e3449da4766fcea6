"""The values that columns choose from.

Files of HomeRack 1.0.1 (SQLAlchemy) store the name of a member, we store and export its value, and pages show
its label. `homerack.inventory.legacy` maps names to values.
"""

from django.db import models


class Width(models.TextChoices):
    ELEVEN_INCH = '11"', '11"'
    EIGHTEEN_INCH = '18"', '18"'
    NINETEEN_INCH = '19"', '19"'
    TWENTY_THREE_INCH = '23"', '23"'


class Airflow(models.TextChoices):
    FRONT_TO_BACK = "front_to_back", "front to back"
    BACK_TO_FRONT = "back_to_front", "back to front"
    SIDE_TO_SIDE = "side_to_side", "side to side"
    PASSIVE = "passive", "passive"


class Source(models.TextChoices):
    MANUFACTURER_SPEC = "manufacturer_spec", "manufacturer"
    WEB_FETCHED = "web_fetched", "web"
    COMMUNITY = "community", "community"
    USER_CUSTOM = "user_custom", "entered manually"


class Confidence(models.TextChoices):
    HIGH = "high", "high"
    MEDIUM = "medium", "medium"
    LOW = "low", "low"


class MigrationStatus(models.TextChoices):
    PENDING = "pending", "pending"
    IN_PROGRESS = "in_progress", "in progress"
    COMPLETED = "completed", "completed"
    FAILED = "failed", "failed"


class AccessFrequency(models.TextChoices):
    HIGH = "high", "frequent"
    MEDIUM = "medium", "occasional"
    LOW = "low", "rare"


class CableType(models.TextChoices):
    CAT5E = "Cat5e", "Cat5e"
    CAT6 = "Cat6", "Cat6"
    CAT6A = "Cat6a", "Cat6a"
    CAT7 = "Cat7", "Cat7"
    FIBER_SM = "Fiber-SM", "Fiber, single-mode"
    FIBER_MM = "Fiber-MM", "Fiber, multi-mode"
    POWER = "Power", "Power"
    CONSOLE = "Console", "Console"


class RoutingPath(models.TextChoices):
    DIRECT = "direct", "direct"
    CABLE_TRAY = "cable_tray", "cable tray"
    CONDUIT = "conduit", "conduit"


class DcimType(models.TextChoices):
    NETBOX = "netbox", "NetBox"
    RACKTABLES = "racktables", "RackTables"
    RALPH = "ralph", "Ralph"
