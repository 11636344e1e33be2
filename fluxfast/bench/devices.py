"""The process of the bench that answers for the devices: ``fluxfast simulate`` that tells its CPU time.

Says ``ready``, then its CPU time in seconds for each line that it hears.
"""

import os
import threading
import time

from fluxfast.bench.fleet import own_fleet
from fluxfast.bench.job import Job, say, telling_errors
from fluxfast.sim import Simulator


def main() -> None:
    """Answer until the input ends."""
    job = Job.heard()
    with telling_errors():
        with own_fleet(job.devices, job.registers, job.every_us, job.port) as fleet:
            simulator = Simulator(fleet)
        simulator.open()

        def hear() -> None:
            while os.read(0, 1):
                say(cpu_s=time.process_time())
            simulator.stop()

        threading.Thread(target=hear, name="fluxfast-bench-hears", daemon=True).start()
        say(ready=True)
        try:
            simulator.run()
        finally:
            simulator.close()


if __name__ == "__main__":
    main()
