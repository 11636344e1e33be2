"""The physics of a fleet: its images, who fills which column, and one step of it all."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import numpy as np

from fluxfast.config import Device, Fleet
from fluxfast.sim.battery import DEFAULT_CAPACITY_KWH, DEFAULT_POWER_KW, Battery, is_battery
from fluxfast.sim.image import Image
from fluxfast.sim.meter import Meter, kind_of
from fluxfast.sim.sites import KW_PER_METER, Floats, Sites
from fluxfast.sim.wander import Wander

STEP_S: Final = 0.05
METER_STEPS: Final = 2  # meters refresh every second step: an Acuvim II's fast block does every 100 ms


class Physics:
    """Holds an image per profile and moves every value in it.

    A device is a row of an image: ``place[device.id]`` is ``(image number, row)``.
    """

    def __init__(self, fleet: Fleet, devices: Sequence[Device], seed: int) -> None:
        """Group devices by profile and kind, build the models, and set everything to its start."""
        rng = np.random.default_rng(seed)
        site_number = {site.name: number for number, site in enumerate(fleet.sites)}
        groups: defaultdict[tuple[str, int], list[Device]] = defaultdict(list)
        for device in devices:
            # Devices with equal overrides have the same profile object (config/resolve.py).
            groups[device.kind, id(device.profile)].append(device)
        self.images: list[Image] = []
        self.place: dict[str, tuple[int, int]] = {}
        self.batteries: dict[int, Battery] = {}
        self._meters: list[Meter] = []
        self._wanders: list[Wander] = []
        self._steps = 0
        self._meters_dt_s = 0.0
        self._sites = Sites(rng, _sizes(devices, site_number))
        meters_of = Counter((d.site, kind_of(d.role)) for d in devices if d.kind == "meter")
        for (kind, _), members in groups.items():
            image = Image(members[0].profile, len(members))
            number = len(self.images)
            self.images.append(image)
            self.place.update({d.id: (number, row) for row, d in enumerate(members)})
            site_of = np.array([site_number[d.site] for d in members], np.intp)
            known: set[str] = set()
            if kind == "bess" and is_battery(image.profile):
                battery = self.batteries[number] = Battery(
                    image, self._sites, site_of,
                    np.array([d.capacity_kwh or DEFAULT_CAPACITY_KWH for d in members], float),
                    np.array([d.rated_power_kw or DEFAULT_POWER_KW for d in members], float),
                    rng,
                )  # fmt: skip
                known = battery.columns
            elif kind == "meter":
                kinds = [kind_of(d.role) for d in members]
                share = np.array([1 / meters_of[d.site, k] for d, k in zip(members, kinds, strict=True)])
                has_sun = np.array([meters_of[site.name, "pv"] > 0 for site in fleet.sites])
                meter = Meter(image, self._sites, site_of, kinds, share, has_sun, rng)
                self._meters.append(meter)
                known = meter.columns
            self._wanders.append(Wander(image, known, rng))

    def start(self, now_s: float) -> None:
        """Show the values of this moment everywhere."""
        self._sites.step(now_s)
        for battery in self.batteries.values():
            battery.step(0.0)
        for meter in self._meters:
            meter.step(now_s, 0.0)
        for wander in self._wanders:
            wander.step(now_s, everything=True)

    def step(self, now_s: float, dt_s: float) -> None:
        """Move to ``now_s`` (wall clock, seconds since 1970), ``dt_s`` after the step before."""
        self._sites.step(now_s)
        for battery in self.batteries.values():
            battery.step(dt_s)
        self._meters_dt_s += dt_s
        self._steps += 1
        if self._steps % METER_STEPS == 0:
            for meter in self._meters:
                meter.step(now_s, self._meters_dt_s)
            self._meters_dt_s = 0.0
        for wander in self._wanders:
            wander.step(now_s)


def _sizes(devices: Sequence[Device], site_number: dict[str, int]) -> Floats:
    """Return each site's size in kW: the rating of its batteries, or something for its meters alone."""
    batteries, meters = np.zeros(len(site_number)), np.zeros(len(site_number))
    for device in devices:
        if device.kind == "bess":
            batteries[site_number[device.site]] += device.rated_power_kw or DEFAULT_POWER_KW
        else:
            meters[site_number[device.site]] += KW_PER_METER
    return np.where(batteries > 0, batteries, meters)
