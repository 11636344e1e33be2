"""The heap of timers against a dictionary that does the same slowly."""

import random

import pytest


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_the_heap_does_what_a_dictionary_does(driver, size):
    choose = random.Random(size)
    heap, model = driver.Heap(size), {}
    for _ in range(3000):
        if choose.random() < 0.6:
            link, due = choose.randrange(size), choose.randrange(1000)
            heap.want(link, due)
            model[link] = min(due, model.get(link, due))
        else:
            now = choose.randrange(1000)
            link = heap.pop(now)
            earliest = min(model.values(), default=None)
            if earliest is None or earliest > now:
                assert link == -1
            else:
                assert model.pop(link) == earliest
        assert heap.is_sound()
    popped = [model.pop(heap.pop(1000)) for _ in range(len(model))]
    assert popped == sorted(popped)
    assert heap.pop(1000) == -1
