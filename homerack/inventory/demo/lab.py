"""The demo lab: three racks, their devices and cables."""

from homerack.inventory.models.choices import AccessFrequency, CableType, RoutingPath

# name, location, height (U), depth (mm), maximum load (kg), power budget (W)
RACKS = (
    ("Main rack", "Basement", 42, 1000.0, 600.0, 5000.0),
    ("Network cabinet", "Hallway closet", 18, 600.0, 120.0, 1200.0),
    ("Workshop cabinet", "Workshop", 12, 500.0, 90.0, 800.0),
)

OFTEN, SOMETIMES, RARELY = AccessFrequency.HIGH, AccessFrequency.MEDIUM, AccessFrequency.LOW
K1, K2, K4 = ("kestrel", "K1", "gen 3"), ("kestrel", "K2", "gen 3"), ("kestrel", "K4", "2 accelerators")
TM110, TM220, EDGE = ("tessera", "TM-110", None), ("tessera", "TM-220", None), ("tessera", "TM-Edge", "short")
AX24, AX48 = ("arvida", "AX-2400", None), ("arvida", "AX-4800", "48-port")
AX48_POE, AX_X32 = ("arvida", "AX-4800", "48-port PoE+"), ("arvida", "AX-X32", "32-port 100G")
VAULT8, VAULT12 = ("orbis", "Vault 8", None), ("orbis", "Vault 12", None)
VAULT60, SHELF24 = ("orbis", "Vault 60", None), ("orbis", "Shelf 24", None)
COPPER_PANEL, FIBER_PANEL = ("lumenrack", "LP-24", "Cat6a"), ("lumenrack", "LF-24", "LC duplex")
STRIP, OUTLETS = ("brannock", "BP-24V", "metered"), ("brannock", "BP-8", "switched")
PERCH = ("sable-finch", "Perch 4", "for 4 boards")
UPS1500, UPS3000 = ("brannock", "BU-1500", None), ("brannock", "BU-3000", None)

# fmt: off
# name, model, rack, lowest unit, locked, access, notes
DEVICES = (
    ("patch-main-01", COPPER_PANEL, "Main rack", 42, True, SOMETIMES, "Rooms of the ground floor."),
    ("patch-main-02", FIBER_PANEL, "Main rack", 41, True, RARELY, "Fibres to the hallway closet."),
    ("spine-01", AX_X32, "Main rack", 40, False, SOMETIMES, None),
    ("sw-top-01", AX48, "Main rack", 39, False, SOMETIMES, None),
    ("sw-top-02", AX48, "Main rack", 38, False, SOMETIMES, None),
    ("console-01", ("quillon", "QC-16", "console server"), "Main rack", 37, False, OFTEN, None),
    ("kvm-01", ("quillon", "QK-8", "KVM drawer"), "Main rack", 36, False, OFTEN, "Mind the drawer."),
    ("tape-01", ("merrow", "ML-8", "tape autoloader"), "Main rack", 34, False, OFTEN, "Change the tapes on Mondays."),
    ("backup-01", TM220, "Main rack", 32, False, SOMETIMES, "Target of the nightly copies."),
    ("web-02", TM110, "Main rack", 28, False, SOMETIMES, None),
    ("web-01", TM110, "Main rack", 27, False, SOMETIMES, None),
    ("db-02", K1, "Main rack", 26, False, SOMETIMES, "Standby of db-01."),
    ("db-01", K1, "Main rack", 25, False, SOMETIMES, "PostgreSQL 15."),
    ("hyper-03", K2, "Main rack", 23, False, SOMETIMES, None),
    ("hyper-02", K2, "Main rack", 21, False, SOMETIMES, None),
    ("hyper-01", K2, "Main rack", 19, False, SOMETIMES, None),
    ("gpu-01", K4, "Main rack", 15, False, OFTEN, "Loud. Spins up at night."),
    ("nas-02", VAULT12, "Main rack", 13, False, SOMETIMES, "Replica of nas-01."),
    ("nas-01", VAULT12, "Main rack", 11, False, SOMETIMES, "Photos, music, backups of the laptops."),
    ("archive-shelf-01", SHELF24, "Main rack", 9, False, RARELY, None),
    ("archive-01", VAULT60, "Main rack", 5, True, RARELY, "Too heavy to move alone."),
    ("ups-01", UPS3000, "Main rack", 1, True, RARELY, "Batteries replaced in March."),
    ("pdu-left", STRIP, "Main rack", 1, True, RARELY, None),
    ("pdu-right", STRIP, "Main rack", 1, True, RARELY, None),
    ("patch-house-01", COPPER_PANEL, "Network cabinet", 18, True, SOMETIMES, "Ground floor and kitchen."),
    ("patch-house-02", COPPER_PANEL, "Network cabinet", 17, True, SOMETIMES, "Upper floor."),
    ("fiber-in", FIBER_PANEL, "Network cabinet", 16, True, RARELY, "The provider's fibre comes in here."),
    ("sw-access-01", AX48_POE, "Network cabinet", 15, False, SOMETIMES, "Cameras and access points."),
    ("sw-access-02", AX48_POE, "Network cabinet", 14, False, SOMETIMES, None),
    ("fw-01", ("halden", "Sentry 200", None), "Network cabinet", 12, False, OFTEN, None),
    ("fw-02", ("halden", "Sentry 200", None), "Network cabinet", 11, False, OFTEN, "Standby of fw-01."),
    ("rt-01", ("arvida", "AR-1100", None), "Network cabinet", 9, False, RARELY, None),
    ("pdu-net", OUTLETS, "Network cabinet", 3, False, RARELY, None),
    ("ups-net", UPS1500, "Network cabinet", 1, True, RARELY, None),
    ("patch-shop", COPPER_PANEL, "Workshop cabinet", 12, True, RARELY, None),
    ("sw-shop", AX24, "Workshop cabinet", 11, False, SOMETIMES, None),
    ("pi-01", PERCH, "Workshop cabinet", 9, False, OFTEN, "Printers and sensors."),
    ("ci-01", EDGE, "Workshop cabinet", 6, False, SOMETIMES, "Builds firmware."),
    ("nas-shop", VAULT8, "Workshop cabinet", 1, False, RARELY, "Second copy, in another building."),
    ("sw-spare", AX24, None, None, False, RARELY, "On the shelf, tested in June."),
)

CAT5E, CAT6, CAT6A = CableType.CAT5E, CableType.CAT6, CableType.CAT6A
MULTI, SINGLE = CableType.FIBER_MM, CableType.FIBER_SM
POWER, CONSOLE = CableType.POWER, CableType.CONSOLE
DIRECT, TRAY, CONDUIT = RoutingPath.DIRECT, RoutingPath.CABLE_TRAY, RoutingPath.CONDUIT

# from device, port, to device, port, type, length (m), routing
CABLES = (
    # Every server at both switches
    ("hyper-01", "eth0", "sw-top-01", "1", CAT6A, 2.0, TRAY),
    ("hyper-01", "eth1", "sw-top-02", "1", CAT6A, 2.0, TRAY),
    ("hyper-02", "eth0", "sw-top-01", "2", CAT6A, 2.0, TRAY),
    ("hyper-02", "eth1", "sw-top-02", "2", CAT6A, 2.0, TRAY),
    ("hyper-03", "eth0", "sw-top-01", "3", CAT6A, 2.0, TRAY),
    ("hyper-03", "eth1", "sw-top-02", "3", CAT6A, 2.0, TRAY),
    ("db-01", "eth0", "sw-top-01", "4", CAT6A, 1.5, TRAY),
    ("db-01", "eth1", "sw-top-02", "4", CAT6A, 1.5, TRAY),
    ("db-02", "eth0", "sw-top-01", "5", CAT6A, 1.5, TRAY),
    ("db-02", "eth1", "sw-top-02", "5", CAT6A, 1.5, TRAY),
    ("web-01", "eth0", "sw-top-01", "6", CAT6, 1.5, TRAY),
    ("web-01", "eth1", "sw-top-02", "6", CAT6, 1.5, TRAY),
    ("web-02", "eth0", "sw-top-01", "7", CAT6, 1.5, TRAY),
    ("web-02", "eth1", "sw-top-02", "7", CAT6, 1.5, TRAY),
    ("backup-01", "eth0", "sw-top-01", "8", CAT6, 1.0, DIRECT),
    ("backup-01", "eth1", "sw-top-02", "8", CAT6, 1.0, DIRECT),
    ("gpu-01", "eth0", "sw-top-01", "9", CAT6, 2.5, TRAY),
    ("gpu-01", "eth1", "sw-top-02", "9", CAT6, 2.5, TRAY),
    ("nas-01", "eth0", "sw-top-01", "10", CAT6, 2.5, TRAY),
    ("nas-02", "eth0", "sw-top-02", "10", CAT6, 2.5, TRAY),
    ("archive-01", "eth0", "sw-top-01", "11", CAT6, 3.0, TRAY),
    ("archive-01", "eth1", "sw-top-02", "11", CAT6, 3.0, TRAY),
    ("tape-01", "eth0", "sw-top-01", "12", CAT6, 1.0, DIRECT),
    ("console-01", "eth0", "sw-top-01", "47", CAT6, 0.5, DIRECT),
    ("console-01", "eth1", "sw-top-02", "47", CAT6, 0.5, DIRECT),
    # The fast network
    ("hyper-01", "sfp0", "spine-01", "1", MULTI, 2.0, TRAY),
    ("hyper-02", "sfp0", "spine-01", "2", MULTI, 2.0, TRAY),
    ("hyper-03", "sfp0", "spine-01", "3", MULTI, 2.0, TRAY),
    ("gpu-01", "sfp0", "spine-01", "4", MULTI, 3.0, TRAY),
    ("nas-01", "sfp0", "spine-01", "5", MULTI, 3.0, TRAY),
    ("nas-02", "sfp0", "spine-01", "6", MULTI, 3.0, TRAY),
    ("backup-01", "sfp0", "spine-01", "7", MULTI, 1.5, TRAY),
    ("archive-01", "sfp0", "spine-01", "8", MULTI, 3.0, TRAY),
    ("sw-top-01", "sfp1", "spine-01", "29", MULTI, 0.5, DIRECT),
    ("sw-top-02", "sfp1", "spine-01", "30", MULTI, 0.5, DIRECT),
    ("archive-01", "sas0", "archive-shelf-01", "in", CAT6A, 0.5, DIRECT),
    # Consoles
    ("console-01", "serial 1", "sw-top-01", "console", CONSOLE, 0.5, DIRECT),
    ("console-01", "serial 2", "sw-top-02", "console", CONSOLE, 0.5, DIRECT),
    ("console-01", "serial 3", "spine-01", "console", CONSOLE, 0.75, DIRECT),
    ("console-01", "serial 4", "ups-01", "console", CONSOLE, 3.0, TRAY),
    ("kvm-01", "1", "web-01", "video", CAT5E, 1.5, TRAY),
    ("kvm-01", "2", "web-02", "video", CAT5E, 1.5, TRAY),
    ("kvm-01", "3", "backup-01", "video", CAT5E, 1.0, DIRECT),
    # Power of the main rack
    ("ups-01", "out 1", "pdu-left", "in", POWER, 1.5, DIRECT),
    ("pdu-left", "1", "hyper-01", "psu 1", POWER, 1.0, DIRECT),
    ("pdu-left", "2", "hyper-02", "psu 1", POWER, 1.0, DIRECT),
    ("pdu-left", "3", "hyper-03", "psu 1", POWER, 1.0, DIRECT),
    ("pdu-left", "4", "gpu-01", "psu 1", POWER, 1.0, DIRECT),
    ("pdu-left", "5", "db-01", "psu 1", POWER, 1.0, DIRECT),
    ("pdu-left", "6", "nas-01", "psu 1", POWER, 1.0, DIRECT),
    ("pdu-left", "7", "archive-01", "psu 1", POWER, 1.5, DIRECT),
    ("pdu-left", "8", "spine-01", "psu 1", POWER, 1.5, DIRECT),
    ("pdu-left", "9", "sw-top-01", "psu 1", POWER, 1.5, DIRECT),
    ("pdu-right", "1", "hyper-01", "psu 2", POWER, 1.0, DIRECT),
    ("pdu-right", "2", "hyper-02", "psu 2", POWER, 1.0, DIRECT),
    ("pdu-right", "3", "hyper-03", "psu 2", POWER, 1.0, DIRECT),
    ("pdu-right", "4", "gpu-01", "psu 2", POWER, 1.0, DIRECT),
    ("pdu-right", "5", "db-02", "psu 1", POWER, 1.0, DIRECT),
    ("pdu-right", "6", "nas-02", "psu 1", POWER, 1.0, DIRECT),
    ("pdu-right", "7", "sw-top-02", "psu 1", POWER, 1.5, DIRECT),
    # From the basement to the hallway and the workshop
    ("spine-01", "31", "patch-main-02", "front 1", SINGLE, 0.5, DIRECT),
    ("spine-01", "32", "patch-main-02", "front 2", SINGLE, 0.5, DIRECT),
    ("patch-main-02", "back 1", "fiber-in", "back 1", SINGLE, 18.5, CONDUIT),
    ("patch-main-02", "back 2", "fiber-in", "back 2", SINGLE, 18.5, CONDUIT),
    ("fiber-in", "back 3", "sw-shop", "sfp1", SINGLE, 32.0, CONDUIT),
    # The network cabinet
    ("fiber-in", "front 1", "sw-access-01", "sfp1", SINGLE, 0.5, DIRECT),
    ("fiber-in", "front 2", "sw-access-02", "sfp1", SINGLE, 0.5, DIRECT),
    ("fiber-in", "front 4", "rt-01", "sfp1", SINGLE, 1.0, DIRECT),
    ("rt-01", "1", "fw-01", "wan", CAT6, 0.5, DIRECT),
    ("rt-01", "2", "fw-02", "wan", CAT6, 0.5, DIRECT),
    ("fw-01", "lan", "sw-access-01", "48", CAT6A, 0.5, DIRECT),
    ("fw-02", "lan", "sw-access-02", "48", CAT6A, 0.5, DIRECT),
    ("fw-01", "ha", "fw-02", "ha", CAT6, 0.25, DIRECT),
    ("patch-house-01", "1", "sw-access-01", "1", CAT6, 0.5, DIRECT),
    ("patch-house-02", "1", "sw-access-02", "1", CAT6, 0.5, DIRECT),
    ("ups-net", "out 1", "pdu-net", "in", POWER, 0.5, DIRECT),
    # The workshop
    ("patch-shop", "1", "sw-shop", "1", CAT6, 0.5, DIRECT),
    ("pi-01", "eth0", "sw-shop", "2", CAT5E, 0.5, DIRECT),
    ("ci-01", "eth0", "sw-shop", "3", CAT6, 1.0, DIRECT),
    ("nas-shop", "eth0", "sw-shop", "4", CAT6, None, TRAY),
)
# fmt: on
