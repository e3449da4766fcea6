"""The pictures in the documents: the scene, the page, and the size in pixels."""

from dataclasses import dataclass
from typing import Literal

LIST = "/admin/ops/backup/"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """`page` is a path, or the name of one that the scene has found. With `part`, only that element is shown."""

    scene: str
    page: str
    width: int = 1280
    height: int = 0
    scheme: Literal["light", "dark"] = "light"
    part: str = ""


PICTURES = {
    "dashboard": Picture(scene="calm", page="/admin/", height=1100),
    "dashboard-dark": Picture(scene="calm", page="/admin/", height=1100, scheme="dark"),
    "rack": Picture(scene="calm", page="/admin/inventory/rack/1/change/", height=1165),
    "rack-dark": Picture(scene="calm", page="/admin/inventory/rack/1/change/", height=1165, scheme="dark"),
    "admin-backups": Picture(scene="calm", page=LIST, height=860),
    "admin-backup": Picture(scene="calm", page="backup", height=1050),
    "admin-restore": Picture(scene="calm", page="restore", height=1130),
    "admin-runs": Picture(scene="calm", page="/admin/ops/run/", height=800),
    "admin-schedules": Picture(scene="calm", page="/admin/ops/run/schedules/", height=600),
    "admin-notifications": Picture(scene="calm", page=f"{LIST}notifications/", height=560),
    "admin-settings": Picture(scene="calm", page=f"{LIST}settings/", height=1100),
    "admin-upload": Picture(scene="calm", page=f"{LIST}upload/", height=520),
    "admin-result": Picture(scene="restored", page="result", height=860),
    "admin-migrate": Picture(scene="restored", page=f"{LIST}migrate-to-postgresql/", height=700),
    "admin-running": Picture(scene="restored", page="running", height=620),
    "admin-copies": Picture(scene="elsewhere", page="backup", part="section:has(> h2:text-is('Copies'))"),
    "admin-locations": Picture(scene="elsewhere", page="/admin/", part=".dash-locations"),
    "admin-recovery-kits": Picture(scene="elsewhere", page=f"{LIST}recovery-kits/", height=1270),
    "admin-migrate-to-sqlite": Picture(scene="on_postgresql", page=f"{LIST}migrate-to-sqlite/", height=860),
}
