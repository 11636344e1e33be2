"""The table of hostile inputs again, for single requests: a Client for each device, all in one loop."""

import asyncio
import contextlib

import pytest

import fluxfast
from fluxfast import errors
from fluxfast.table import quality
from tests.support.hostile import FIRST, MODES, SIZE, Outcome, Run, Seen, fails, serving_cases, slowest_ms
from tests.support.hostile_reads import AT_ONCE, AT_THE_DEADLINE, DEADLINE_S

pytestmark = pytest.mark.usefixtures("no_descriptor_lost")
ROUNDS = 3
SLACK_MS = 10
PAUSE_S = 0.1  # what is late comes while nothing is asked
REASONS = {
    errors.NoAnswerError: "timeout",
    errors.MalformedPduError: "malformed response",
    errors.ResponseMismatchError: "response does not match",
    errors.FramingError: "not Modbus",
    errors.TransportError: "connection lost",
}
# A client says what the unit said: to ask again is for its caller, or for retry_count. And what a request has
# ended with, before its connection broke, stays; of a table's cells the last word counts.
BUSY = fails("exception 5 acknowledge", late=1)
WRONG_LENGTH = Outcome("malformed response", "not Modbus", connects=2)
OTHERWISE = {
    (49, "plain"): BUSY,
    (49, "pipelined"): BUSY,
    (40, "plain"): WRONG_LENGTH,
    (40, "pipelined"): WRONG_LENGTH,
    (41, "pipelined"): WRONG_LENGTH,
}


def expected(case, mode):
    return OTHERWISE.get((case.number, mode), case.expected(mode))


async def reconnected(client, outcome):
    """Wait for the connection after one that the case closes; 5 s, or the check finds what is amiss."""
    for _ in range(500):
        if outcome.after != "good" or client.counters()["connects"] >= outcome.connects:
            return
        await asyncio.sleep(0.01)


async def ask(client, device, read, longest_s):
    """Read once; return 'good' or the reason, and check the values."""
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    try:
        values = await client.read_holding_registers(FIRST + read * SIZE, SIZE)
    except errors.ExceptionResponseError as error:
        code = error.exception_code
        return quality.reason(quality.EXCEPTION + (code if code <= 62 else 0))
    except errors.FluxfastError as error:
        return REASONS[type(error)]
    finally:
        longest_s.append(loop.time() - began_s)
    told = tuple(device.told.get(FIRST + read * SIZE + n) for n in range(SIZE))
    return "good" if values == told else f"{values}, not {told}"


async def ask_all(devices, timeout_s):
    """Return {(case, mode): Seen}, and how long the slowest request took."""
    seen, took_s = {}, []
    async with contextlib.AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(
                fluxfast.Client(
                    one.server.host, one.server.port, timeout_s=timeout_s, max_in_flight=one.reads
                )
            )
            for one in devices
        ]

        async def rounds(client, one):
            got = seen[one.case, one.mode] = Seen()
            for _ in range(ROUNDS):
                reads = (ask(client, one, read, took_s) for read in range(one.reads))
                got.reasons.append(await asyncio.gather(*reads))
                await asyncio.sleep(PAUSE_S)
                await reconnected(client, expected(one.case, one.mode))
            got.counted = client.counters()

        while not all(client.is_connected for client in clients):
            await asyncio.sleep(0.01)
        await asyncio.gather(*map(rounds, clients, devices))
    return Run(seen, [1000 * max(took_s)], [])


def run(cases, timeout_s):
    with serving_cases(cases, net=43) as devices:
        return asyncio.run(ask_all(devices, timeout_s))


def run_to_the_deadline():
    return run(AT_THE_DEADLINE, DEADLINE_S)


@pytest.fixture(scope="module")
def at_once():
    return run(AT_ONCE, 5.0)


@pytest.fixture(scope="module")
def at_the_deadline():
    return run_to_the_deadline()


def check(run, case, mode):
    seen, outcome = run.seen[case, mode], expected(case, mode)
    assert seen.reasons == outcome.reasons(mode, ROUNDS)
    counted = {name: seen.counted[name] for name in ("late", "foreign")}
    assert counted == {name: outcome.counted.get(name, 0) for name in counted}
    assert seen.counted["connects"] == outcome.connects


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", AT_ONCE, ids=str)
def test_what_needs_no_deadline(at_once, case, mode):
    check(at_once, case, mode)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("case", AT_THE_DEADLINE, ids=str)
def test_what_runs_into_its_deadline(at_the_deadline, case, mode):
    check(at_the_deadline, case, mode)


def test_every_request_ends_by_its_deadline(at_the_deadline):
    limit_ms = DEADLINE_S * 1000 + SLACK_MS
    assert slowest_ms(at_the_deadline, run_to_the_deadline, limit_ms) <= limit_ms
