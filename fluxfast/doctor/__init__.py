"""``fluxfast doctor``: what is wrong with the devices of a site file, their links and this machine.

First observe, then judge. ``examine`` goes through the links (``link``), the units behind each (``unit``),
and what they stand (``manners``, ``pauses``, ``depth``, ``refused``), by raw conversations (``line``) that
write nothing. What was seen (``observed``) is judged by pure functions: ``judge_reach``, ``judge_time``,
``judge_values`` with ``arrangement``, ``plausible`` and ``scales``. ``machine`` looks at what polls. What
comes of it are ``Finding``s, each with what was seen, in numbers, and a cure.
"""

from fluxfast.doctor.examine import Report, examine
from fluxfast.doctor.finding import CHECKS, MACHINE, Finding, Severity, verdict
from fluxfast.doctor.machine import Machine, judge_machine, look

__all__ = [
    "CHECKS",
    "MACHINE",
    "Finding",
    "Machine",
    "Report",
    "Severity",
    "examine",
    "judge_machine",
    "look",
    "verdict",
]
