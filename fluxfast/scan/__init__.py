"""Finding Modbus TCP devices: thousands of hosts at once, one careful conversation with each.

::

    targets ─▶ prober: sockets, pacing ─▶ examination: whom to ask what ─▶ identify: what it is ─▶ result
                └ exchange: frames          └ questions                      └ recognition: profiles

``Scan`` is all of it. Nothing here writes to a device.
"""

from fluxfast.scan.examination import Options
from fluxfast.scan.questions import Step
from fluxfast.scan.recognition import candidates
from fluxfast.scan.result import Result, Unit, Verdict
from fluxfast.scan.save import save_site
from fluxfast.scan.scan import Scan
from fluxfast.scan.targets import Targets, parse_ports, parse_targets, parse_units, site_targets

__all__ = [
    "Options",
    "Result",
    "Scan",
    "Step",
    "Targets",
    "Unit",
    "Verdict",
    "candidates",
    "parse_ports",
    "parse_targets",
    "parse_units",
    "save_site",
    "site_targets",
]
