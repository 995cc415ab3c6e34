"""``main.py ROW FORM``: runs the module of a row."""

import importlib
import sys

if __name__ == "__main__":
    row, form = sys.argv[1:3]
    importlib.import_module(row.replace("-", "_")).run(form)
