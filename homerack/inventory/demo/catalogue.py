"""The demo lab's catalogue. The brands and their products are made up."""

from homerack.inventory.models.choices import Airflow, Width

# name, short name, colour, description
TYPES = (
    ("Server", "server", "#2563EB", "Runs programs"),
    ("Switch", "switch", "#047857", "Connects devices to a network"),
    ("Router", "router", "#7C3AED", "Connects networks"),
    ("Firewall", "firewall", "#DC2626", "Filters network traffic"),
    ("Storage", "storage", "#B45309", "Stores data: disks, shelves, tapes"),
    ("PDU", "pdu", "#EAB308", "Distributes power within a rack"),
    ("UPS", "ups", "#4D7C0F", "Supplies power during outages"),
    ("Patch panel", "patch_panel", "#0E7490", "Terminates the cables in the walls"),
    ("Other", "other", "#64748B", "Consoles, shelves and everything else"),
)

# name, short name, website, description
BRANDS = (
    ("Arvida Networks", "arvida", "https://arvida.example", "From Tampere, Finland. Founded in 1998."),
    ("Brannock Electric", "brannock", "https://brannock.example", "From Sheffield, United Kingdom. Founded in 1931."),
    ("Halden Systems", "halden", "https://halden.example", "From Halden, Norway. Founded in 2004."),
    ("Kestrel Compute", "kestrel", "https://kestrel.example", "From Austin, Texas, USA. Founded in 2009."),
    ("Lumenrack", "lumenrack", "https://lumenrack.example", "From Graz, Austria. Founded in 1987."),
    ("Merrow Data", "merrow", "https://merrow.example", "From Galway, Ireland. Founded in 1979."),
    ("Nimbus Forge", "nimbus-forge", "https://nimbusforge.example", "From Porto, Portugal. Founded in 2016."),
    ("Orbis Storage", "orbis", "https://orbis.example", "From Taichung, Taiwan. Founded in 2001."),
    ("Pike Industrial", "pike", "https://pike.example", "From Linz, Austria. Founded in 1954."),
    ("Quillon", "quillon", "https://quillon.example", "From Lyon, France. Founded in 1993."),
    ("Sable & Finch", "sable-finch", "https://sablefinch.example", "From Bristol, United Kingdom. Founded in 2018."),
    ("Tessera Micro", "tessera", "https://tessera.example", "From San Jose, California, USA. Founded in 1996."),
)

FRONT, SIDE, PASSIVE = Airflow.FRONT_TO_BACK, Airflow.SIDE_TO_SIDE, Airflow.PASSIVE
WIDE, NARROW = Width.NINETEEN_INCH, Width.ELEVEN_INCH
GIGABIT, POE, SFP, SFP28, QSFP = "gigabit_ethernet", "gigabit_ethernet_poe", "sfp_plus_10g", "sfp28_25g", "qsfp28_100g"

# fmt: off
# In this order: brand, type, name, variant, height in U, width, depth in mm, weight in kg, power in W, airflow, ports
MODELS = (
    ("arvida", "switch", "AX-2400", None, 1, WIDE, 260, 3.1, 28, PASSIVE, {GIGABIT: 24, SFP: 2}),
    ("arvida", "switch", "AX-4800", "48-port", 1, WIDE, 350, 5.2, 85, FRONT, {GIGABIT: 48, SFP: 4}),
    ("arvida", "switch", "AX-4800", "48-port PoE+", 1, WIDE, 400, 6.4, 190, FRONT, {POE: 48, SFP: 4}),
    ("arvida", "switch", "AX-X32", "32-port 100G", 1, WIDE, 515, 9.8, 320, FRONT, {QSFP: 32}),
    ("arvida", "router", "AR-1100", None, 1, WIDE, 300, 4.0, 45, SIDE, {GIGABIT: 8, SFP: 2}),
    ("arvida", "router", "AR-3200", None, 2, WIDE, 470, 11.5, 210, FRONT, {SFP: 12, QSFP: 2}),
    ("brannock", "pdu", "BP-8", "switched", 1, WIDE, 120, 2.3, 6, PASSIVE, {"c13": 8}),
    ("brannock", "pdu", "BP-24V", "metered", 0, WIDE, 55, 4.1, 12, PASSIVE, {"c13": 21, "c19": 3}),
    ("brannock", "ups", "BU-1500", None, 2, WIDE, 480, 26.0, 1350, FRONT, {"c13": 6}),
    ("brannock", "ups", "BU-3000", None, 2, WIDE, 640, 34.5, 2700, FRONT, {"c13": 8, "c19": 1}),
    ("halden", "firewall", "Sentry 60", None, 1, WIDE, 220, 2.4, 24, SIDE, {GIGABIT: 8}),
    ("halden", "firewall", "Sentry 200", None, 1, WIDE, 330, 4.9, 75, FRONT, {GIGABIT: 12, SFP: 4}),
    ("halden", "firewall", "Sentry 800", None, 2, WIDE, 560, 13.2, 310, FRONT, {SFP: 16, QSFP: 2}),
    ("halden", "router", "Gate 10", None, 1, WIDE, 240, 2.9, 32, PASSIVE, {GIGABIT: 6, SFP: 2}),
    ("kestrel", "server", "K1", "gen 3", 1, WIDE, 740, 15.4, 220, FRONT, {GIGABIT: 2, SFP28: 2}),
    ("kestrel", "server", "K2", "gen 3", 2, WIDE, 760, 24.0, 350, FRONT, {GIGABIT: 2, SFP28: 4}),
    ("kestrel", "server", "K2", "12 disks", 2, WIDE, 780, 28.5, 380, FRONT, {GIGABIT: 2, SFP28: 2}),
    ("kestrel", "server", "K4", "2 accelerators", 4, WIDE, 800, 32.0, 900, FRONT, {GIGABIT: 2, SFP28: 2}),
    ("lumenrack", "patch_panel", "LP-24", "Cat6a", 1, WIDE, 110, 1.6, 0, PASSIVE, {"rj45": 24}),
    ("lumenrack", "patch_panel", "LP-48", "Cat6a", 2, WIDE, 110, 2.9, 0, PASSIVE, {"rj45": 48}),
    ("lumenrack", "patch_panel", "LF-24", "LC duplex", 1, WIDE, 230, 2.2, 0, PASSIVE, {"lc_duplex": 24}),
    ("lumenrack", "other", "LS-1", "shelf", 1, WIDE, 400, 2.6, 0, PASSIVE, None),
    ("lumenrack", "other", "LB-1", "brush panel", 1, WIDE, 30, 0.6, 0, PASSIVE, None),
    ("merrow", "storage", "ML-8", "tape autoloader", 2, WIDE, 610, 16.3, 60, FRONT, {GIGABIT: 1, "sas": 1}),
    ("merrow", "storage", "ML-24", "tape library", 4, WIDE, 690, 31.0, 140, FRONT, {GIGABIT: 1, "sas": 2}),
    ("nimbus-forge", "router", "NF-Edge", None, 1, NARROW, 180, 1.3, 18, PASSIVE, {GIGABIT: 5, SFP: 1}),
    ("nimbus-forge", "firewall", "NF-Gate", None, 1, NARROW, 180, 1.4, 22, PASSIVE, {GIGABIT: 6}),
    ("nimbus-forge", "switch", "NF-Mesh 8", None, 1, NARROW, 160, 1.1, 14, PASSIVE, {"2_5gbase_t": 8, SFP: 2}),
    ("orbis", "storage", "Vault 8", None, 2, WIDE, 420, 11.8, 110, FRONT, {GIGABIT: 4}),
    ("orbis", "storage", "Vault 12", None, 2, WIDE, 550, 16.2, 160, FRONT, {GIGABIT: 4, SFP28: 2}),
    ("orbis", "storage", "Vault 60", None, 4, WIDE, 880, 62.0, 420, FRONT, {GIGABIT: 2, SFP28: 2}),
    ("orbis", "storage", "Shelf 24", None, 2, WIDE, 540, 23.5, 180, FRONT, {"sas": 4}),
    ("pike", "switch", "PI-08", "rugged", 1, NARROW, 130, 1.2, 9, PASSIVE, {GIGABIT: 8}),
    ("pike", "ups", "PU-600", None, 1, WIDE, 380, 12.5, 540, PASSIVE, {"c13": 4}),
    ("quillon", "other", "QC-16", "console server", 1, WIDE, 250, 3.2, 35, SIDE, {"serial": 16, GIGABIT: 2}),
    ("quillon", "other", "QK-8", "KVM drawer", 1, WIDE, 580, 13.0, 20, PASSIVE, {"kvm": 8}),
    ("quillon", "other", "QT-1", "time server", 1, WIDE, 290, 2.7, 15, PASSIVE, {GIGABIT: 2}),
    ("sable-finch", "server", "Perch 4", "for 4 boards", 1, WIDE, 210, 2.0, 40, SIDE, {GIGABIT: 4}),
    ("sable-finch", "server", "Perch 12", "for 12 boards", 3, WIDE, 240, 4.6, 120, SIDE, {GIGABIT: 12}),
    ("tessera", "server", "TM-110", None, 1, WIDE, 650, 12.9, 180, FRONT, {GIGABIT: 4}),
    ("tessera", "server", "TM-220", None, 2, WIDE, 700, 21.7, 300, FRONT, {GIGABIT: 4, SFP28: 2}),
    ("tessera", "server", "TM-Edge", "short", 1, WIDE, 380, 7.4, 95, FRONT, {GIGABIT: 4}),
)
# fmt: on
