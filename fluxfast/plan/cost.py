"""What a plan costs per tick, before anything is sent."""

from dataclasses import dataclass

import numpy as np

from fluxfast.plan.compiler import Plan

# Measured on a 2-core machine over loopback (benchmarks/bench_link.py); real networks cost the CPU the same.
CPU_US_PER_REQUEST = 9.0
CPU_NS_PER_VALUE = 3.0
REQUEST_BYTES = 12


@dataclass(frozen=True)
class Cost:
    """Per tick, averaged over slow poll groups. Bytes are Modbus ADUs, without TCP/IP headers."""

    requests: float
    registers: float
    values: float
    sent_bytes: float
    received_bytes: float

    @property
    def cpu_ms(self) -> float:
        """Expected CPU time per tick in milliseconds, from the figures above."""
        return (self.requests * CPU_US_PER_REQUEST + self.values * CPU_NS_PER_VALUE / 1000) / 1000


def plan_cost(plan: Plan) -> Cost:
    """Sum up requests, registers (bits counted as registers / 16), values and bytes of a tick."""
    blocks = plan.blocks
    share = 1.0 / blocks["every"]
    bits = blocks["function_code"] <= 2
    quantity = blocks["quantity"].astype(np.float64)
    data = np.where(bits, np.ceil(quantity / 8), 2 * quantity)
    return Cost(
        requests=float(share.sum()),
        registers=float((share * data / 2).sum()),
        values=float((share * blocks["n_ops"]).sum()),
        sent_bytes=float(share.sum() * REQUEST_BYTES),
        received_bytes=float((share * (9 + data)).sum()),
    )
