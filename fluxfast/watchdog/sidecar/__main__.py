"""Started as ``python -I -S __main__.py FD``: no site-packages, no environment, no fluxfast."""

import importlib
import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.exit(importlib.import_module("sidecar.run").main(int(sys.argv[1])))
