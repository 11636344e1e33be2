import os
import resource

import numpy as np
import pytest

from fluxfast.constants import MAX_IN_FLIGHT
from fluxfast.link import Reactor
from fluxfast.link.reactor import memory_per_device, struct_sizes
from fluxfast.plan import structs


def reactor(n=1, connects_per_s=400.0, **link):
    """Return a reactor of n links, each with one block that decodes nothing."""
    links, units, blocks = (np.zeros(n, kind) for kind in (structs.LINK, structs.UNIT, structs.BLOCK))
    links["first_block"] = units["first_block"] = units["link"] = blocks["unit"] = np.arange(n)
    links["n_blocks"] = links["n_units"] = links["max_in_flight"] = 1
    for name, value in link.items():
        links[name] = value
    parts = [array.view(np.uint8) for array in (links, units, blocks, np.zeros(1, structs.OP))]
    none = np.zeros(1, np.uint64)
    return Reactor(*parts, none, np.zeros(24, np.uint8), none, None, connects_per_s, 30_000_000_000, 1)


def test_struct_layouts_agree_with_c():
    ours = (structs.LINK, structs.UNIT, structs.BLOCK, structs.WRITE, structs.WRITE_STATE)
    assert struct_sizes() == tuple(dtype.itemsize for dtype in ours)


def test_a_device_takes_less_than_a_page():
    assert memory_per_device(n_blocks=16) < 4096


@pytest.mark.parametrize("depth", [0, MAX_IN_FLIGHT + 1])
def test_no_link_is_deeper_than_its_memory(depth):
    with pytest.raises(ValueError, match="max_in_flight must be 1 to 16"):
        reactor(max_in_flight=depth)
    reactor(max_in_flight=MAX_IN_FLIGHT).close()


def test_a_reactor_that_gets_no_descriptor_closes_none():
    """It once closed 0, and the next socket of the process had its number."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    stdin = os.fstat(0)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match="no descriptor"):
            reactor()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert os.path.samestat(stdin, os.fstat(0))


@pytest.mark.parametrize(("connects_per_s", "at_once"), [(0, 50), (0.01, 1)])
def test_new_connections_are_paced_unless_that_is_lifted(connects_per_s, at_once):
    many = reactor(50, connects_per_s, timeout_ns=1_000_000_000)
    for link in range(50):
        many.set_address(link, bytes([127, 45, 0, 1]), 1)  # nobody listens there
    many.process()
    assert sum(many.connects(link) for link in range(50)) == at_once
    many.close()


@pytest.mark.parametrize("link", [-1, 1])
def test_a_link_that_is_not_there_is_refused(link):
    one = reactor()
    for call in (one.failure, one.set_unresolved, lambda n: one.set_address(n, b"1234", 502)):
        with pytest.raises(IndexError):
            call(link)
    with pytest.raises(ValueError, match="4 or 16 bytes"):
        one.set_address(0, b"123", 502)
    one.close()
