"""``fluxfast.Client`` on real sockets: a server of another library, and peers that do what a test says."""

import asyncio
import ssl
import struct
import sys
from pathlib import Path

import pytest

import fluxfast
from fluxfast import errors, modbus
from tests.support.command import Process, free_port
from tests.support.scripted import serving, well_behaved

SCRIPT = Path(__file__).parents[1] / "support" / "python_server.py"


def ask(port, *coroutines, host="127.0.0.1", **options):
    """Run coroutine functions of a client one after the other; return their results or errors."""

    async def run():
        results = []
        async with fluxfast.Client(host, port, **options) as client:
            for coroutine in coroutines:
                try:
                    results.append(await coroutine(client))
                except fluxfast.FluxfastError as error:
                    results.append(error)
        return results

    return asyncio.run(run())


@pytest.fixture(scope="module")
def pymodbus_port(tmp_path_factory):
    spec = tmp_path_factory.mktemp("client") / "spec.txt"
    lines = [f"{unit} {table} {a} {(a * 7 + unit) % 2 if table in 'cd' else a + 100 * unit}"
             for unit in (1, 2) for table in "cdhi" for a in range(40)]  # fmt: skip
    spec.write_text("\n".join(lines))
    port = free_port("127.0.0.1")
    with Process([sys.executable, str(SCRIPT), "pymodbus", "127.0.0.1", str(port), str(spec)]) as process:
        assert process.line() == "ready"
        yield port


def test_every_function_against_pymodbus(pymodbus_port):
    async def reads(client):
        return [
            await client.read_coils(0, 9),
            await client.read_discrete_inputs(3, 2),
            await client.read_holding_registers(10, 3),
            await client.read_input_registers(10, unit_id=2),
        ]

    async def writes(client):
        await client.write_coil(1, True)
        await client.write_register(10, 65535)
        await client.write_coils(2, [True, False, True])
        await client.write_registers(11, [1, 2])
        await client.mask_write_register(12, 0xF2, 0x25)
        swapped = await client.read_write_registers(10, 3, 13, [7])
        return swapped, await client.read_coils(1, 4), await client.read_holding_registers(10, 4)

    async def refused(client):
        await client.read_holding_registers(60000)

    (coils, inputs, holding, second), written, error = ask(pymodbus_port, reads, writes, refused)
    assert coils == tuple((a * 7 + 1) % 2 == 1 for a in range(9))
    assert inputs == (False, True)
    assert (holding, second) == ((110, 111, 112), (210,))
    masked = (2 & 0xF2) | (0x25 & ~0xF2)
    assert written == (
        (65535, 1, masked), (True, True, False, True), (65535, 1, masked, 7),
    )  # fmt: skip
    assert isinstance(error, errors.ExceptionResponseError)
    assert error.exception_code == 2
    place = f"127.0.0.1:{pymodbus_port} unit 1"
    assert str(error) == f"{place}: function 0x03: exception 2 (illegal data address)"


def test_many_tasks_share_one_connection_and_get_their_own_answers(pymodbus_port):
    async def run():
        async with fluxfast.Client("127.0.0.1", pymodbus_port, timeout_s=20) as client:
            found = await asyncio.gather(
                *(client.read_input_registers(n % 40, unit_id=1 + n % 2) for n in range(1000))
            )
            return found, client.counters()

    found, counters = asyncio.run(run())
    assert found == [(n % 40 + 100 * (1 + n % 2),) for n in range(1000)]
    assert counters == {"requests": 1000, "connects": 1, "late": 0, "foreign": 0}


def test_identification_and_any_function_code():
    pages = {
        0: modbus.DeviceIdentification(0x83, {0: b"Maker", 1: b"Model"}, 2),
        2: modbus.DeviceIdentification(0x83, {2: b"1.0"}),
    }

    tasks = []

    async def serve(reader, writer):
        tasks.append(asyncio.current_task())
        while header := await reader.read(7):
            *_, length, unit = struct.unpack(">HHHB", header)
            pdu = await reader.readexactly(length - 1)
            if pdu[0] == 0x2B:
                request = modbus.parse_request(pdu)
                answer = request.build_response(pages[request.object_id])
            else:
                answer = pdu[::-1] if pdu[0] == pdu[-1] else bytes([pdu[0] | 0x80, 1])
            writer.write(header[:4] + struct.pack(">HB", len(answer) + 1, unit) + answer)
        writer.close()
        await writer.wait_closed()

    async def run():
        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = listener.sockets[0].getsockname()[1]
        async with fluxfast.Client("127.0.0.1", port) as client:
            found = (
                await client.read_device_identification(),
                await client.request_pdu(b"\x65\1\2\x65"),
                await client.request_pdu(b"\x66\1"),
            )
        await asyncio.wait(tasks)
        listener.close()
        await listener.wait_closed()
        return found

    assert asyncio.run(run()) == (
        {0: b"Maker", 1: b"Model", 2: b"1.0"}, b"\x65\2\1\x65", b"\xe6\1",
    )  # fmt: skip


async def read_two(client):
    return await client.read_holding_registers(2000, 2)


async def write(client):
    return await client.write_register(2008, 50)


def test_a_silent_device_costs_one_timeout_and_says_so():
    async def silent(peer):
        await peer.reader.read()

    with serving(silent) as server:
        read, wrote = ask(server.port, read_two, write, timeout_s=0.1)
    assert isinstance(read, errors.NoAnswerError)
    assert isinstance(read, TimeoutError)
    assert str(read) == f"127.0.0.1:{server.port} unit 1: no answer within 0.1 s"
    assert isinstance(wrote, errors.UncertainWriteError)
    assert "read it back" in str(wrote)


def test_reads_are_tried_again_and_writes_never_are():
    requests = []

    async def second_time(peer):
        while True:
            request = await peer.request()
            requests.append(request.function_code)
            if len(requests) % 2 == 0:
                await peer.send(request.reply())

    with serving(second_time) as server:
        read, wrote, again = ask(server.port, read_two, write, read_two, timeout_s=0.2, retry_count=1)
    assert read == again == (2000, 2001)
    assert isinstance(wrote, errors.UncertainWriteError)
    assert requests.count(6) == 1


def test_a_refused_connection_an_unknown_host_and_forbidden_requests():
    port = free_port("127.0.0.1")
    (refused,) = ask(port, write)
    assert isinstance(refused, errors.TransportError)
    assert isinstance(refused, OSError)
    assert "refused" in str(refused)
    (unknown,) = ask(502, read_two, host="no-such-host.invalid", timeout_s=10)
    assert "host not found" in str(unknown)

    async def broadcast(client):
        await client.write_register(1, 1, unit_id=0)

    async def too_many(client):
        await client.read_holding_registers(0, 126)

    async def never(client):
        await client.read_coils(0, timeout_s=0)

    found = ask(port, broadcast, too_many, never)
    assert [type(error) for error in found] == [errors.LocalProtocolError] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 70000}, "a port is 1 to 65535, not 70000"),
        ({"timeout_s": float("nan")}, "a timeout is more than 0 and at most 3600 s, not nan"),
        ({"request_gap_s": -1.0}, "a pause is 0 to 3600 s, not -1.0"),
        ({"connect_delay_s": float("nan")}, "a pause is 0 to 3600 s, not nan"),
        ({"max_in_flight": 17}, "max_in_flight must be 1 to 16, not 17"),
    ],
)
def test_a_client_that_cannot_be_says_why(options, message):
    with pytest.raises(errors.LocalProtocolError, match=message):
        fluxfast.Client("127.0.0.1", **options)


def test_a_device_that_closes_after_each_answer_is_reached_again():
    async def once(peer):
        await peer.send((await peer.request()).reply())

    with serving(once) as server:
        found = ask(server.port, *[read_two] * 5, retry_count=3)
    assert found == [(2000, 2001)] * 5
    assert server.connections >= 5


def test_a_cancelled_write_that_was_not_sent_is_never_sent():
    codes = []

    async def slow(peer):
        while True:
            request = await peer.request()
            codes.append(request.function_code)
            await asyncio.sleep(0.2)
            await peer.send(request.reply())

    async def run(port):
        async with fluxfast.Client("127.0.0.1", port) as client:
            first = asyncio.create_task(read_two(client))
            await asyncio.sleep(0.05)
            second = asyncio.create_task(write(client))
            await asyncio.sleep(0.05)
            second.cancel()
            assert await first == (2000, 2001)
            assert await read_two(client) == (2000, 2001)
            with pytest.raises(asyncio.CancelledError):
                await second

    with serving(slow) as server:
        asyncio.run(run(server.port))
    assert codes == [3, 3]


def test_closing_ends_what_still_waits():
    async def silent(peer):
        await peer.reader.read()

    async def run(port):
        client = fluxfast.Client("127.0.0.1", port, timeout_s=30, max_in_flight=2)
        async with client:
            task = asyncio.create_task(read_two(client))
            written = asyncio.create_task(write(client))
            await asyncio.sleep(0.05)
            assert client.is_connected
        assert not client.is_connected
        with pytest.raises(errors.TransportError, match="connection lost"):
            await task
        with pytest.raises(errors.UncertainWriteError, match="connection lost"):
            await written
        with pytest.raises(fluxfast.FluxfastError, match="inside"):
            await read_two(client)
        with pytest.raises(fluxfast.FluxfastError, match="once"):
            await client.__aenter__()

    with serving(silent) as server:
        asyncio.run(run(server.port))


async def fails(coroutine):
    try:
        await coroutine
    except fluxfast.FluxfastError as error:
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("one_ends_first", [False, True])
def test_closing_ends_each_request_as_what_it_is(one_ends_first):
    """In flight, not sent yet, and (more than may be under way at once) without a turn."""

    async def silent(peer):
        await peer.reader.read()

    async def run(port):
        async with fluxfast.Client("127.0.0.1", port, timeout_s=60, max_in_flight=2) as client:
            tasks = [
                asyncio.create_task(fails(client.write_register(0, 1))),
                *(asyncio.create_task(fails(client.read_holding_registers(n))) for n in range(300)),
                asyncio.create_task(fails(client.write_register(0, 2))),
            ]
            await asyncio.sleep(0.1)
            assert client.is_connected
            if one_ends_first:  # the next one has its turn then, but hears of it only after the end
                tasks.pop(100).cancel()
                await asyncio.sleep(0)
        found = await asyncio.gather(*tasks)
        assert not client.is_connected
        return found

    with serving(silent) as server:
        written, *others = asyncio.run(asyncio.wait_for(run(server.port), 20))
    assert isinstance(written, errors.UncertainWriteError)
    assert {type(error) for error in others} == {errors.TransportError}


def test_closing_ends_the_wait_before_a_retry(monkeypatch):
    monkeypatch.setattr("fluxfast.client.BUSY_WAIT_S", 3600)

    async def busy(peer):
        while True:
            await peer.send((await peer.request()).reply(pdu=b"\x83\x06"))

    async def run(port):
        async with fluxfast.Client("127.0.0.1", port, retry_count=1) as client:
            task = asyncio.create_task(fails(read_two(client)))
            while client.counters()["requests"] == 0:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
        await task

    with serving(busy) as server:
        asyncio.run(asyncio.wait_for(run(server.port), 20))


def test_another_loop_than_that_which_opened_it_is_refused():
    async def run(port):
        client = fluxfast.Client("127.0.0.1", port)
        await client.__aenter__()
        return client

    with serving(well_behaved) as server:
        client = asyncio.run(run(server.port))
        with pytest.raises(fluxfast.FluxfastError, match="on the loop that opened it"):
            asyncio.run(asyncio.wait_for(read_two(client), 5))
        client.close()


class BadReader:
    async def read(self, _size):
        raise EOFError("the tunnel is gone")


async def cannot_connect():
    raise ValueError("no such tunnel")


async def cannot_read():
    _, writer = await asyncio.open_connection("127.0.0.1", cannot_read.port)
    return BadReader(), writer


@pytest.mark.parametrize(
    ("connect", "error", "said"),
    [
        (
            cannot_connect,
            "unreachable: ValueError('no such tunnel')",
            "a stream failed: ValueError('no such tunnel')",
        ),
        (cannot_read, "connection lost", "a stream failed: EOFError('the tunnel is gone')"),
    ],
)
def test_a_stream_that_fails_in_its_own_way_ends_the_request_at_once(connect, error, said):
    told = []

    async def run(port):
        cannot_read.port = port
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        async with fluxfast.Client("", connect=connect, timeout_s=60) as client:
            return str(await fails(read_two(client)))

    with serving(well_behaved) as server:
        assert asyncio.run(asyncio.wait_for(run(server.port), 20)).endswith(error)
    assert said in told


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    import subprocess

    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2",
               "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
               "-keyout", str(key), "-out", str(cert)]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("no openssl here")
    return cert, key


def test_a_stream_of_any_kind_carries_the_same_conversation(certificate):
    """TLS, opened by asyncio; it breaks once on the way and is opened again."""
    cert, key = certificate

    async def run():
        served = []

        async def serve(reader, writer):
            served.append(0)
            try:
                while adu := await reader.read(12):
                    tid, _, _, unit, _, address, quantity = struct.unpack(">HHHBBHH", adu)
                    data = struct.pack(f">{quantity}H", *range(address, address + quantity))
                    frame = struct.pack(">HHHBBB", tid, 0, len(data) + 3, unit, 3, len(data)) + data
                    writer.write(frame[:5])
                    await writer.drain()
                    await asyncio.sleep(0.01)
                    writer.write(frame[5:])
                    served[-1] += 1
                    if served == [3]:
                        writer.transport.abort()
                        return
            except (ConnectionError, ssl.SSLError):
                pass
            writer.close()

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(cert, key)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]
        trust = ssl.create_default_context(cafile=str(cert))
        opened = lambda: asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")  # noqa: E731
        async with fluxfast.Client("gateway", connect=opened, timeout_s=5, retry_count=3) as client:
            found = [await client.read_holding_registers(n, 3) for n in range(8)]
        server.close()
        await server.wait_closed()
        return found, served

    found, served = asyncio.run(run())
    assert found == [(n, n + 1, n + 2) for n in range(8)]
    assert len(served) == 2


def test_why_a_stream_does_not_connect_is_said(certificate):
    async def run():
        async def serve(_, writer):
            writer.close()

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*certificate)
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
        port = server.sockets[0].getsockname()[1]

        async def untrusted():
            return await asyncio.open_connection("127.0.0.1", port, ssl=ssl.create_default_context())

        async with fluxfast.Client("gateway", connect=untrusted, timeout_s=5) as client:
            with pytest.raises(errors.TransportError, match=r"unreachable: .*CERTIFICATE_VERIFY_FAILED"):
                await client.read_coils(0)
        server.close()
        await server.wait_closed()

    asyncio.run(run())


def test_well_behaved_peer_under_uvloop():
    import uvloop

    async def run(port):
        async with fluxfast.Client("localhost", port, max_in_flight=4) as client:
            return await asyncio.gather(*(client.read_holding_registers(n) for n in range(100)))

    with serving(well_behaved) as server:
        assert uvloop.run(run(server.port)) == [(n,) for n in range(100)]


@pytest.mark.parametrize(("said", "hint"), [
    (b"SSH-2.0-OpenSSH_9.2\r\n", "not Modbus: b'SSH-2.0-OpenSSH_9.2"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not Modbus: b'HTTP/1.1 400"),
    (bytes.fromhex("0103140000000000000000000000000000000000000000a367"), "not Modbus: RTU over TCP?"),
    (bytes.fromhex("15030300020246"), "not Modbus: TLS"),
    (bytes(100), "not Modbus"),
])  # fmt: skip
def test_what_is_not_modbus_is_named(said, hint):
    async def other(peer):
        await peer.request()
        await peer.send(said)
        await peer.reader.read()

    with serving(other) as server:
        (error,) = ask(server.port, read_two)
    assert isinstance(error, errors.FramingError)
    assert f"unit 1: {hint}" in str(error)
