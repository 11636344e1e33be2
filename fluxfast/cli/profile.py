"""``fluxfast profile``: make, check and print register maps."""

import click

from fluxfast.cli.profile_check import check
from fluxfast.cli.profile_doc import doc
from fluxfast.cli.profile_new import new
from fluxfast.cli.profile_sheet import from_csv
from fluxfast.cli.profile_sunspec import from_sunspec


@click.group()
def profile() -> None:
    """Make, check and print profiles: the register maps of device types.

    PROFILE is a built-in one's name, or the path of a file. What a profile can say: docs/profiles.md.

    \b
    Examples:
      fluxfast profile doc powerpack
      fluxfast profile from-csv registers.csv -o pcs.yaml
      fluxfast profile from-sunspec 192.168.1.100 -o inverter.yaml

    Exit code: 0 done, 1 done with findings, 2 bad input, 3 could not be done.
    """


for command in (new, check, doc, from_csv, from_sunspec):
    profile.add_command(command)
