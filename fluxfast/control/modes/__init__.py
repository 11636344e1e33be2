"""Modes: what power a site wants. Exactly one mode of a site sets its target, the first that applies.

``modes.py`` asks them all; one file for each family of modes has their formulas, all modes of a type at once.
docs/modes.md explains them to who runs a site.
"""

from fluxfast.control.modes.modes import Modes
from fluxfast.control.modes.view import View

__all__ = ["Modes", "View"]
