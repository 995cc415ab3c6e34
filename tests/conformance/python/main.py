"""``main.py ROW FORM``: runs the module of a row; ``x_`` if ``x`` is the library itself."""

import importlib
import importlib.util
import sys

if __name__ == "__main__":
    row, form = sys.argv[1:3]
    name = row.replace("-", "_")
    module = name if importlib.util.find_spec(f"{name}_") is None else f"{name}_"
    importlib.import_module(module).run(form)
