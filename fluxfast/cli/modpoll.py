"""``fluxfast modpoll``: the command lines of modpoll, on our engine, saying which PDU address they mean."""

import asyncio
import signal
import sys
from contextlib import suppress
from typing import Final

import click

from fluxfast import __version__
from fluxfast.access import modpoll_options
from fluxfast.access.cure import NO_SUCH_ADDRESS, cure, failure
from fluxfast.access.guard import sole_writer
from fluxfast.access.modpoll import Command as Asked
from fluxfast.access.read import Answer, Links, UnitReader
from fluxfast.cli.interrupted import told_when_interrupted
from fluxfast.cli.options import COULD_NOT, DONE, FINDINGS, Command
from fluxfast.constants import ExceptionCode
from fluxfast.errors import ExceptionResponseError
from fluxfast.table import quality

_NOBODY: Final = (quality.REFUSED, quality.UNREACHABLE, quality.NO_HOST)  # to begin with: no use to go on


class _OwnLanguage(Command):
    """A command that reads its arguments itself: modpoll's -1 and -50 are not what click takes them for."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep them as they are."""
        ctx.params["args"] = tuple(args)
        return []


@click.command(cls=_OwnLanguage, add_help_option=False)
@click.argument("args", metavar="[OPTIONS] HOST [VALUES]...", nargs=-1)
@click.pass_context
def modpoll(ctx: click.Context, args: tuple[str, ...]) -> None:
    """Poll a Modbus TCP device, or write VALUES to it, by the command lines of modpoll.

    References count from 1, as modpoll's do: -r 2026 is PDU address 2025. Each run says which address it
    used. 32-bit values have the low word first unless -i or -f says otherwise. VALUES are written at once.

    \b
    -m tcp       protocol: only tcp (default)
    -a ID        unit identifier, 0 to 255 (1)
    -r REF       start reference, 1 to 65536 (1); with -0 PDU address, 0 to 65535
    -c COUNT     values to read, up to 125, or 2000 bits (1); -c 1 writes by function code 5 or 6
    -t TYPE      0 coils, 1 discrete inputs, 3 input registers, 4 holding registers (4);
                 3 and 4 also with :hex :int16 :int :i64 :float :f64 :mod
    -i -f        32-bit integers, floats have the high word first; -B both, as mbpoll
    -0           -r counts from 0 (PDU addresses)
    -1           poll once; otherwise until Ctrl-C
    -l MS        poll every so many milliseconds (1000)
    -o SECONDS   time-out, 0.01 to 10 (1.0)
    -p PORT      TCP port (502)
    -h  -V       this help, the version

    \b
    Examples:
      fluxfast modpoll -m tcp -a 1 -r 2026 -c 1 192.168.1.100
      fluxfast modpoll -m tcp -a 1 -0 -r 2026 -1 192.168.1.100
      fluxfast modpoll -t 4:float -f -r 1 -c 4 -1 192.168.1.101
      fluxfast modpoll -m tcp -a 1 -r 2008 -c 1 192.168.1.100 50
      fluxfast modpoll -r 2009 192.168.1.100 -- -1

    Exit code: 0 all was read, or written, 1 some reads failed, 2 bad input, 3 none succeeded.
    """
    command = modpoll_options.parse(args)
    if command.wants:
        click.echo(ctx.get_help() if command.wants == "help" else f"fluxfast modpoll {__version__}")
        return
    click.echo("\n".join(command.header()) + "\n")
    if command.values:
        with sole_writer(command.unit), told_when_interrupted():
            asyncio.run(_write(command))
        count = len(command.values)
        click.echo(f"Written {count} reference{'s' * (count != 1)}.")
        return
    sys.exit(asyncio.run(_poll(command)))


async def _write(command: Asked) -> None:
    async with command.unit.client(command.timeout_s) as client:
        try:
            await client.request(command.write.request, unit_id=command.unit_id)
        except ExceptionResponseError as error:
            if error.exception_code == ExceptionCode.ILLEGAL_DATA_ADDRESS:
                _tell_address(command, command.address)
            raise


async def _poll(command: Asked) -> int:
    """Poll once, or until Ctrl-C; return the exit code."""
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    if not command.once:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ending.set)
    links = Links([UnitReader(command.unit, command.selection)], timeout_s=command.timeout_s, keep=True)
    codes: list[int] = []
    due_s = loop.time()
    async with links:
        while not ending.is_set():
            click.echo(f"-- Polling slave...{'' if command.once else ' (Ctrl-C to stop)'}")
            answers = await links.read()
            codes.append(_tell(command, answers, is_first=not codes))
            sys.stdout.flush()
            if command.once or (len(codes) == 1 and answers[0].reading.code in _NOBODY):
                break
            due_s = max(due_s + command.every_s, loop.time())
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due_s):
                    await ending.wait()
    if COULD_NOT in codes and any(code != COULD_NOT for code in codes):
        return FINDINGS
    return max(codes, default=DONE)


def _tell(command: Asked, answers: list[Answer], *, is_first: bool) -> int:
    """Print what was read, or why it was not."""
    if all(answer.was_read for answer in answers):
        click.echo("\n".join(command.lines([answer.reading for answer in answers])))
        return DONE
    failed = next(answer for answer in answers if not answer.was_read)
    click.secho(f"{failure(failed)}!", fg="red", err=True)
    if is_first and failed.reading.code == NO_SUCH_ADDRESS:
        _tell_address(command, failed.reading.point.address)
    elif is_first and (helps := cure(failed)):
        click.echo(helps, err=True)
    return COULD_NOT


def _tell_address(command: Asked, address: int) -> None:
    click.echo(f"the device has no PDU address {address}: {command.where}", err=True)
