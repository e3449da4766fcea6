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
    """Those of HomeRack 1.0.1, and what NetBox's library of device types has in addition."""

    FRONT_TO_BACK = "front_to_back", "front to back"
    BACK_TO_FRONT = "back_to_front", "back to front"
    LEFT_TO_RIGHT = "left_to_right", "left to right"
    RIGHT_TO_LEFT = "right_to_left", "right to left"
    SIDE_TO_SIDE = "side_to_side", "side to side"
    SIDE_TO_BACK = "side_to_back", "side to back"
    BACK_TO_SIDE = "back_to_side", "back to side"
    BOTTOM_TO_TOP = "bottom_to_top", "bottom to top"
    TOP_TO_BOTTOM = "top_to_bottom", "top to bottom"
    PASSIVE = "passive", "passive"
    MIXED = "mixed", "mixed"


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
