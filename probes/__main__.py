"""`python -m probes NAME ...` does the same as `synthgap probe NAME ...`."""

import importlib
import sys

# By name: the packages below never import the command line, and this file only hands over to it.
sys.argv = ["synthgap", "probe", *sys.argv[1:]]
importlib.import_module("app.cli").main()
