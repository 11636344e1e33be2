"""Findings about how a unit is reached: name, connection, protocol, unit, pauses, refused reads."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from fluxfast.constants import ExceptionCode, exception_name
from fluxfast.doctor.finding import Finding, fault, note, warning
from fluxfast.doctor.line import BUSY, Answer, Kind
from fluxfast.doctor.observed import BOTH, LinkSeen, Refusals, UnitSeen
from fluxfast.doctor.refused import cure_of

# What an exception means for whoever polls, and what to do about it (MAP section 7).
EXCEPTIONS: Final = {
    1: "it does not know the function code: compare the register table (holding, input) with the manual",
    2: "it has no such address: compare the addresses with the manual, which may count from 1",
    3: "it does not take that number of registers: see max_registers",
    4: "it has a fault of its own: look at the device",
    5: "it has accepted the request and is not done: poll it less often",
    6: "it is busy: poll it less often, or find out who else asks it",
    8: "its memory has failed: look at the device",
    10: "the gateway has no path to the unit: look at the gateway's routing table and its serial ports",
    11: "the gateway lives, the unit behind it does not answer: unit address, wiring, baud rate and parity "
    "there, power of the unit",
}


def judge_link(seen: LinkSeen) -> list[Finding]:
    """Return the findings of a link; they concern every unit behind it."""
    if seen.left_alone:
        return [
            note(
                "station",
                f"the station of process {seen.station} polls it, and it takes one connection: not examined",
                "stop that station first",
                "link",
            )
        ]
    found = list(_failure(seen))
    if not found and seen.foreign:
        found.append(_foreign(seen))
    if seen.station is not None:
        text = f"the station of process {seen.station} polls it: no second connection was tried, nor several "
        found.append(note("station", text + "requests at once", "stop that station to see all", "link"))
    if seen.gave_up_s is not None:
        text = f"not done after {seen.gave_up_s:g} s"
        found.append(warning("time", text, "it answers too slowly to be polled: see its network", "link"))
    return found + list(_needs(seen)) + list(_second(seen))


def _failure(seen: LinkSeen) -> Iterator[Finding]:
    place = f"{seen.host}:{seen.port}"
    text = f" ({seen.failure_text})" if seen.failure_text else ""
    elsewhere = f"; port {seen.modbus_at} of that host speaks Modbus" if seen.modbus_at else ""
    tried = f" at {', '.join(seen.addresses)}" if (seen.host,) != seen.addresses else ""
    if seen.failure == "name":
        yield fault(
            "name",
            f"{seen.host} does not resolve{text}",
            "write its IP address, or add the name to DNS or /etc/hosts",
            "link",
        )
    elif seen.failure == "refused":
        cure = (
            f"port: {seen.modbus_at}"
            if seen.modbus_at
            else (
                "the host is up and nothing listens there: check port:, or switch Modbus TCP on at the device"
            )
        )
        yield fault("connect", f"{place} refuses connections{tried}{elsewhere}", cure, "link")
    elif seen.failure == "silent":
        yield fault(
            "connect",
            f"{place} does not answer to connecting{tried}",
            "is it powered, is the address right, does a firewall or a route stand between?",
            "link",
        )
    elif seen.failure == "unreachable":
        yield fault(
            "connect",
            f"{place} cannot be reached{tried}{text}",
            "check this machine's network, routes and firewall",
            "link",
        )
    elif seen.failure == "closed":
        cure = "it may have no connection left (stop who else holds one), or an allow list: add this machine"
        if seen.station is not None:
            cure = f"the station of process {seen.station} holds a connection: stop it to examine the device"
        yield fault("connect", f"{place} takes connections and ends them unanswered{text}", cure, "link")


def _foreign(seen: LinkSeen) -> Finding:
    text = seen.foreign.removeprefix("not Modbus: ")
    cure = "it is another service: check host: and port:"
    if "RTU over TCP" in text:
        text = "RTU over TCP"
        cure = "set the gateway to Modbus TCP: RTU frames in TCP are not spoken here"
    elif "TLS" in text:
        cure = "Modbus/TCP Security is not spoken here; plain Modbus TCP mostly is on port 502"
    return fault("protocol", f"{seen.host}:{seen.port} speaks no Modbus TCP: {text}", cure, "link")


def _needs(seen: LinkSeen) -> Iterator[Finding]:
    if seen.closes:
        yield warning(
            "closes",
            "it closes the connection after each answer",
            "let it keep connections open (keep-alive, idle time); else each read pays for a new one",
            "link",
        )
    if seen.delay_s is not None:
        yield fault(
            "pause",
            f"requests right after connecting fail; {shown_time(seen.delay_s)} later they do not",
            f"quirks: {{connect_delay: {shown_time(2 * seen.delay_s, '')}}}",
            "link",
        )
    if seen.gap_s is not None:
        how = "busy (exception 5 or 6)" if seen.busy else "lost"
        yield fault(
            "pause",
            f"requests right after an answer are {how}; {shown_time(seen.gap_s)} later they are not",
            f"quirks: {{request_gap: {shown_time(seen.gap_s, '')}}}",
            "link",
        )
    if seen.lost is not None:
        lost, asked = seen.lost
        yield warning(
            "loss",
            f"{lost} of {asked} requests got no answer, with pauses or without",
            "look for a bad cable, a full radio link, an address that two devices have",
            "link",
        )


def _second(seen: LinkSeen) -> Iterator[Finding]:
    limits = [unit.device.profile.quirks.max_connections for unit in seen.units]
    if seen.second in ("", BOTH) or 1 in limits:
        return
    yield warning(
        "connections",
        f"it takes one connection: {seen.second}",
        "fluxfast polls with one; see that no other client (SCADA, a logger, a second station) connects, and "
        "say so: quirks: {max_connections: 1}",
        "link",
    )


# ---- one unit ----


def judge_unit(seen: UnitSeen, link: LinkSeen) -> list[Finding]:
    """Return why a unit does not answer, or what is odd about its answers."""
    if seen.answer is not None:
        if link.failure or link.foreign:
            return []
        if seen.answer.kind == Kind.EXCEPTION:
            return [_gateway(seen, seen.answer)]
        return [_silent(seen, link)]
    found = list(_odd(seen))
    if seen.refusals is not None:
        found += _refused(seen, seen.refusals)
    found += _failed(seen, seen.refusals is not None)
    found += _passing(seen, link)
    was_reached = not (link.failure or link.foreign or link.left_alone or link.gave_up_s)
    if not found and not seen.reads and was_reached:
        found.append(fault("readable", "nothing could be read", "look at its connection, and ask again"))
    return found


def _gateway(seen: UnitSeen, answer: Answer) -> Finding:
    unit = seen.device.modbus.unit
    text = f"unit {unit}: exception {answer.code} ({exception_name(answer.code)})"
    text += f" after {shown_time(answer.seconds)}"
    check = "unit" if seen.heard_units else "gateway"
    return fault(check, text + _heard(seen), _other_cure(seen) or EXCEPTIONS[answer.code])


def _silent(seen: UnitSeen, link: LinkSeen) -> Finding:
    unit = seen.device.modbus.unit
    others = [u.device.modbus.unit for u in link.units if u.reads]
    waited_s = seen.answer.seconds if seen.answer is not None else 0.0
    text = f"unit {unit} does not answer within {shown_time(waited_s)}"
    if others:
        text += f"; {_units(others)} on the same link {'does' if len(others) == 1 else 'do'}"
        cure = (
            "unit address, wiring and power of that unit; baud rate and parity, if others are on another line"
        )
    else:
        cure = "find its unit address in its settings; it may be a gateway whose units are off"
    return fault("unit", text + _heard(seen), _other_cure(seen) or cure)


def _heard(seen: UnitSeen) -> str:
    if seen.heard_units:
        return (
            f"; {_units(list(seen.heard_units))} answers"
            if len(seen.heard_units) == 1
            else (f"; {_units(list(seen.heard_units))} answer")
        )
    if seen.asked_units:
        return f"; nor do {_units(list(seen.asked_units))}"
    return ""


def _other_cure(seen: UnitSeen) -> str:
    if len(seen.heard_units) == 1:
        return f"modbus: {{address: {seen.heard_units[0]}}}, if that is the device that is meant"
    if seen.heard_units:
        return f"modbus: {{address: …}}, one of {', '.join(map(str, seen.heard_units))}"
    return ""


def _units(units: list[int]) -> str:
    runs: list[list[int]] = []
    for unit in units:
        if runs and unit == runs[-1][-1] + 1:
            runs[-1].append(unit)
        else:
            runs.append([unit])
    texts = [f"{run[0]}–{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return f"unit{'s' if len(units) > 1 else ''} {', '.join(texts)}"


def _odd(seen: UnitSeen) -> Iterator[Finding]:
    quirks, unit = seen.device.profile.quirks, seen.device.modbus.unit
    others = [other for other in seen.answers_as if other not in quirks.unit_aliases]
    if others:
        yield fault(
            "unit-echo",
            f"asked as unit {unit}, it answers as {_units(others)}",
            f"quirks: {{unit_aliases: {sorted({*quirks.unit_aliases, *others})[:2]}}}"
            + (f", or modbus: {{address: {others[0]}}}" if len(others) == 1 and others[0] else ""),
        )
    if seen.zero_ids and quirks.transaction_id != "zero":
        yield fault(
            "transaction-id",
            "its answers bear the transaction identifier 0 instead of the request's",
            "quirks: {transaction_id: zero}",
        )


def _refused(seen: UnitSeen, found: Refusals) -> Iterator[Finding]:
    assert found.block is not None
    block = found.block
    why = f"exception {found.code}" if found.code else "no legal answer"
    read = f"the read of {_range(block.address, block.quantity)} gets {why}"
    if found.other_table:
        names = [p.name for b in seen.blocks if b.function_code == block.function_code for p in b.points]
        yield fault(
            "function",
            f"{read}; as {found.other_table} registers it is answered",
            "points: {" + ", ".join(f"{name}: {{register: {found.other_table}}}" for name in names) + "}",
        )
        return
    cure = cure_of(seen.device.profile, found)
    if found.split:
        ranges = sorted((r.block.address, r.block.address + r.block.quantity - 1) for r in seen.reads)
        cure = {"readable": [list(one) for one in ranges]}
    if cure:
        yield _unplannable(seen, found, read, cure)
    if found.points:
        some = ", ".join(f"{p.name} ({_range(p.address, p.size)})" for p in found.points[:4])
        more = f" and {len(found.points) - 4} more" if len(found.points) > 4 else ""
        nulls = ", ".join(f"{p.name}: null" for p in found.points)
        meaning = EXCEPTIONS.get(found.code, "see whether the device has it")
        yield fault(
            "function" if found.code == ExceptionCode.ILLEGAL_FUNCTION else "readable",
            f"{some}{more}: {why} also when read alone",
            meaning
            if len(found.points) == len(seen.device.profile.points)
            else f"points: {{{nulls}}}, if the device has no such register",
        )


def _unplannable(seen: UnitSeen, found: Refusals, read: str, cure: dict[str, object]) -> Finding:
    if found.longest is not None and not found.gaps:
        check, why = "length", f"{found.longest} registers are the longest that is answered"
    else:
        holes = ", ".join(_range(first, last - first + 1) for first, last in found.gaps[:3])
        check, why = (
            "readable",
            f"it may not run over {holes}" if holes else "some neighbours are read apart only",
        )
    good = sum(len(one.block.points) for one in seen.reads)
    works = f"; then {good} of {len(seen.device.profile.points)} points are read" if found.works else ""
    quirks = ", ".join(f"{key}: {value}" for key, value in cure.items())
    return fault(check, f"{read}: {why}", f"quirks: {{{quirks}}}{works}")


def _failed(seen: UnitSeen, explained: bool) -> Iterator[Finding]:
    codes: Counter[tuple[Kind, int]] = Counter((answer.kind, answer.code) for _, answer in seen.failed)
    for (kind, code), count in codes.items():
        if explained and (kind in (Kind.SILENT, Kind.MALFORMED) or code in (1, 2, 3)):
            continue
        block, answer = next(one for one in seen.failed if (one[1].kind, one[1].code) == (kind, code))
        reads = f"{count} of {len(seen.blocks)} reads, the first of {_range(block.address, block.quantity)}"
        if kind == Kind.EXCEPTION:
            text = f"{reads}: exception {code} ({exception_name(code)})"
            yield fault(
                "exception", text, EXCEPTIONS.get(code, "an exception of the maker's: see the manual")
            )
        else:
            text = f"{reads}: {answer.text or kind.value}"
            yield fault("readable", text, "compare the profile with the manual; a gateway may be in between")


def _passing(seen: UnitSeen, link: LinkSeen) -> Iterator[Finding]:
    """Exceptions to what is answered at other times."""
    told = {1, 2, 3, *(answer.code for _, answer in seen.failed)}
    told |= {seen.refusals.code} if seen.refusals is not None else set()
    told |= set(BUSY) if link.gap_s is not None else set()  # that is why it needs the pause
    for code, count in sorted(seen.codes.items()):
        if code and code not in told and seen.codes[0]:
            yield warning(
                "exception",
                f"{count} of {seen.codes.total()} requests: exception {code} ({exception_name(code)})",
                EXCEPTIONS.get(code, "an exception of the maker's: see the manual"),
            )


def _range(address: int, quantity: int) -> str:
    if quantity == 1:
        return f"register {address}"
    return f"registers {address} to {address + quantity - 1}"


def shown_time(seconds: float, space: str = " ") -> str:
    """Return 1.23 ms, 340 ms, 1.2 s; without a space as site files write durations."""
    if seconds < 0.9995:
        return f"{seconds * 1e3:.3g}{space}ms"
    return f"{seconds:.3g}{space}s"
