"""Profiles that tests share, as YAML text."""

# Every type, every byte order, every table; gaps of all kinds.
EVERYTHING = """
name: everything
title: Everything there is
version: 3
quirks: {max_gap: 4}
groups: {slow: 10}
points:
  u16: {address: 0, type: uint16, access: rw}
  i16: {address: 1, type: int16, access: rw, limits: [-100, 100]}
  i16_ba: {address: 2, type: int16, byte_order: BA, access: rw}
  u32: {address: 4, type: uint32, access: rw}
  u32_cdab: {address: 6, type: uint32, byte_order: CDAB, access: rw, limits: [0, 100000]}
  i32_badc: {address: 8, type: int32, byte_order: BADC, access: rw}
  i32_dcba: {address: 10, type: int32, byte_order: DCBA, access: rw}
  f32: {address: 12, type: float32, access: rw, limits: [-1, 1]}
  f32_cdab: {address: 14, type: float32, byte_order: CDAB, access: rw}
  u64: {address: 20, type: uint64, access: rw}
  i64_ghefcdab: {address: 24, type: int64, byte_order: GHEFCDAB, access: rw}
  i64_badcfehg: {address: 28, type: int64, byte_order: BADCFEHG, access: rw}
  f64: {address: 32, type: float64, access: rw, limits: [-1e30, 1e30]}
  f64_hgfedcba: {address: 36, type: float64, byte_order: HGFEDCBA, access: rw}
  f16: {address: 40, type: float16, access: rw, limits: [-2, 2]}
  tenths: {address: 41, type: int16, scale: 0.1, offset: 5, unit: kW, access: rw, limits: [0, 20]}
  flag: {address: 42, type: bool, bit: 3, access: rw}
  field: {address: 42, type: uint16, bits: [8, 11], access: rw, limits: [0, 9]}
  text: {address: 43, type: string, length: 6}
  text_ba: {address: 49, type: string, length: 4, byte_order: BA}
  mode: {address: 53, type: uint16, states: {4: AUTO, 7: MANUAL}, access: rw}
  only_read: {address: 54, type: uint16, limits: [10, 20]}
  far: {address: 200, type: uint16, access: rw}
  last: {address: 65535, type: uint16, access: rw}
  in_u16: {address: 10, register: input, type: uint16, limits: [1000, 2000]}
  in_f32: {address: 11, register: input, type: float32, unit: V}
  coil_0: {address: 0, register: coil, type: bool, access: rw}
  coil_1: {address: 1, register: coil, type: bool, access: rw}
  coil_2: {address: 2, register: coil, type: bool, access: rw}
  coil_6: {address: 6, register: coil, type: bool, access: rw}
  coil_9: {address: 9, register: coil, type: bool}
  contact_100: {address: 100, register: discrete, type: bool}
  contact_109: {address: 109, register: discrete, type: bool}
"""
