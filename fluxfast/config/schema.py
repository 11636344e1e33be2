"""The JSON Schema of site files, for editors; ``ci/schemas`` writes it to ``site.schema.json``."""

from typing import Any

from fluxfast.config.entries import SiteFile
from fluxfast.profiles.schema import file_schema


def site_schema() -> dict[str, Any]:
    """Return the JSON Schema of a site file."""
    return file_schema(SiteFile)
