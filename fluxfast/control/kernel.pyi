from typing import Self, final

from fluxfast.control.columns import Columns

@final
class Kernel:
    def __new__(cls, columns: Columns, *, plain: bool = False) -> Self: ...
    def decide(self, dt_s: float) -> None: ...
