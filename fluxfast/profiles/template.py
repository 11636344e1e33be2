"""The file that a new profile begins with: it holds as it stands, and shows what can be said."""

import re
from typing import Final

_TEMPLATE: Final = """\
# A register map. It holds as it stands: change it line by line, and run `fluxfast profile check {name}.yaml`.
# All keys: docs/profiles.md. An editor with YAML support completes them from profile.schema.json.
name: {name}
title: New device              # for people
version: 1                     # goes up by one with every change of the map

# What one request may be like. Nothing given: 125 registers, over gaps of up to 16 that no point wants.
quirks:
  max_gap: 0                   # 0 for a device that answers exception 2 for registers that it does not have
  # max_registers: 60          # most registers of one read
  # readable: [[0, 99], [200, 231]]   # all that it answers for; no read leaves a range
  # request_gap: 20ms          # pause between an answer and the next request
  # max_in_flight: 4           # requests that may wait for answers at once

# Points are read every tick, except those of such a group.
groups: {{slow: 60}}             # every 60th tick

# Addresses are PDU addresses, which count from 0: 2000 is 07 D0 on the wire. In a manual that counts from 1
# take 1 off; in one that writes 40001, take 40001 off. value = raw * scale + offset.
points:
  status:
    address: 0
    type: uint16
    description: Operating state
    states: {{0: "OFF", 1: READY, 2: FAULT}}
  power:
    address: 1
    type: int16                # int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 bool string
    scale: 0.1
    unit: kW
    description: Active power, positive discharges
    not_implemented: 0x8000    # the raw value that means: none
  soe:
    address: 2
    type: uint16
    scale: 0.1
    unit: "%"
    description: State of energy
  energy_discharged:
    address: 3
    type: uint32
    byte_order: CDAB           # the second register is the more significant one; ABCD unless given
    unit: kWh
    description: Energy discharged
  over_temperature: {{address: 5, type: bool, bit: 3, description: Alarm}}
  setpoint:
    address: 10
    type: int16                # signed: a setpoint must be able to charge
    scale: 0.1
    unit: kW
    access: rw                 # ro unless given
    limits: [-250, 250]        # in kW
    description: Power setpoint, positive discharges
  serial_number: {{address: 100, type: string, length: 8, group: slow, description: Serial number}}
  # frequency: {{address: 20, register: input, type: float32, unit: Hz}}   # function code 4

# What control goes by; take it away if such devices are only read. A meter has `control: {{power: …}}`.
control:
  setpoint: setpoint
  soe: soe
  power: power
  ready: {{status: [READY]}}     # when it takes setpoints
  refresh: 10s                 # a setpoint that stays the same is written again this often
"""


def new_profile(name: str, origin: str | None = None) -> str:
    """Return the text of a new profile, or of another one's file under a new name."""
    if origin is None:
        return _TEMPLATE.format(name=name)
    line = f"name: {name}"
    text, found = re.subn(r"(?m)^name:.*$", line, origin, count=1)
    return text if found else f"{line}\n{origin}"
