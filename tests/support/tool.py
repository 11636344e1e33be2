"""The command line in this process: for tests that start it often."""

import json
from dataclasses import dataclass
from typing import Any

from click.testing import CliRunner

from fluxfast.cli.group import cli


@dataclass(frozen=True)
class Ran:
    code: int
    out: str
    err: str

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The JSON objects that were printed, one a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def tool(*args: object) -> Ran:
    """Run ``fluxfast ARGS``; what is no end of its own is raised."""
    result = CliRunner().invoke(cli, list(map(str, args)), catch_exceptions=False)
    return Ran(result.exit_code, result.stdout, result.stderr)
