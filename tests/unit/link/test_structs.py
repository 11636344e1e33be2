from fluxfast.link.reactor import memory_per_link, struct_sizes
from fluxfast.plan import structs


def test_struct_layouts_agree_with_c():
    assert struct_sizes() == (structs.LINK.itemsize, structs.UNIT.itemsize, structs.BLOCK.itemsize)


def test_a_link_takes_less_than_a_page():
    assert memory_per_link() < 4096
