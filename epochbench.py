"""Epochbench from a checkout: this file is the package, whose folder is called `bench` there.

Where Epochbench is installed, that folder is called `epochbench` itself, and this file is not needed.
"""

import importlib.util
from pathlib import Path

if __name__ == "__main__":  # python -m epochbench
    import runpy

    import epochbench  # noqa: F401  # this file as that package: from here on it is one, and has a __main__

    runpy.run_module("epochbench", run_name="__main__", alter_sys=True)
else:
    _folder = Path(__file__).resolve().parent / "bench"
    _spec = importlib.util.spec_from_file_location(__name__, _folder / "__init__.py")
    # In place, so that whoever holds this module, and whoever reloads it, holds the package.
    globals().update(
        __file__=_spec.origin,
        __loader__=_spec.loader,
        __package__=__name__,
        __path__=_spec.submodule_search_locations,
        __spec__=_spec,
    )
    exec(_spec.loader.get_code(__name__), globals())
