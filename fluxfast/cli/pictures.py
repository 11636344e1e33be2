"""What the commands that draw have in common."""

from fluxfast.errors import MissingExtraError


def need_matplotlib() -> None:
    """Raise MissingExtraError if there is none, before the work begins."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as e:
        raise MissingExtraError("charts need matplotlib: pip install 'fluxfast[charts]'") from e
