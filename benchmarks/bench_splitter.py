"""A stream of 100 responses of 90 registers cut into frames: fed whole, and in segments of 1,460 bytes.

How each does it:

- C floor: walks from length to length and copies each frame; checks nothing, and has all bytes at hand.
- fluxfast: ``MbapSplitter``, the Python face; what a stream must be is checked, a frame is a bytes object.
- slices: a buffer of bytes and ``int.from_bytes``, as one would write it by hand; checks nothing.
- pymodbus: ``FramerSocket.decode`` on what is left of a buffer, which is how its client uses it. A frame
  that has not come whole is tried again with the next segment.

What it does not show: the poller cuts frames by the same rules in C, without an object for each
(bench_link.py).
"""

from collections.abc import Callable, Iterable

import numpy as np
import pytest
import stages
from floors import floor
from pymodbus.framer import FramerSocket
from pymodbus.pdu import DecodePDU
from stages import FRAMES

from fluxfast import modbus

STREAM = stages.stream()
SIZE = len(STREAM) // FRAMES
SEGMENT = 1_460
FEEDS = {
    "whole": [STREAM],
    "segments": [STREAM[at : at + SEGMENT] for at in range(0, len(STREAM), SEGMENT)],
}
Run = Callable[[], Iterable[bytes]]


def c_floor(segments: list[bytes]) -> Run:
    data, out = np.frombuffer(STREAM, np.uint8), np.zeros(len(STREAM), np.uint8)
    return floor("floor_split", out, data, len(STREAM), result=out.reshape(FRAMES, -1))


def fluxfast(segments: list[bytes]) -> Run:
    if len(segments) == 1:
        return stages.codec_split().run
    feed = modbus.MbapSplitter().feed

    def run() -> list[bytes]:
        frames = []
        for segment in segments:
            frames += feed(segment)
        return frames

    return run


def slices(segments: list[bytes]) -> Run:
    def run() -> list[bytes]:
        held, frames = b"", []
        for segment in segments:
            held += segment
            at = 0
            while len(held) - at >= 6:
                end = at + 6 + int.from_bytes(held[at + 4 : at + 6])
                if end > len(held):
                    break
                frames.append(held[at:end])
                at = end
            held = held[at:]
        return frames

    return run


def pymodbus(segments: list[bytes]) -> Run:
    decode = FramerSocket(DecodePDU(False)).decode

    def run() -> list[bytes]:
        held, frames = b"", []
        for segment in segments:
            held += segment
            while True:
                used, _, _, _ = decode(held)
                if not used:
                    break
                frames.append(held[:used])
                held = held[used:]
        return frames

    return run


WAYS = {"C floor": c_floor, "fluxfast": fluxfast, "slices": slices, "pymodbus": pymodbus}


@pytest.mark.parametrize("fed", FEEDS)
@pytest.mark.parametrize("contender", WAYS)
def test_split(contend, fed, contender):
    frames = contend(f"splitter/{fed}", contender, FRAMES, "frame", WAYS[contender](FEEDS[fed]))
    assert [bytes(frame) for frame in frames] == [STREAM[n * SIZE : (n + 1) * SIZE] for n in range(FRAMES)]
