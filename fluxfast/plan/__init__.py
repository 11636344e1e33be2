"""Site file and profiles to a Plan: blocks to read, the decode program, the layout of tables.

Runs once, before the first tick, so it may take its time. May import config, profiles, modbus and below;
link and table get its results as arrays (structs.py).
"""

from fluxfast.plan.blocks import BlockLayout, plan_blocks
from fluxfast.plan.compiler import ColumnLayout, Plan, TableLayout, compile_plan
from fluxfast.plan.cost import Cost, plan_cost

__all__ = [
    "BlockLayout",
    "ColumnLayout",
    "Cost",
    "Plan",
    "TableLayout",
    "compile_plan",
    "plan_blocks",
    "plan_cost",
]
