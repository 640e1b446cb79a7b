"""The user's project, as far as `bench init` needs to know it: its files are read, and nothing of it is imported."""

from __future__ import annotations

import importlib.util
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import UsageError

_MAKEFILES = ("GNUmakefile", "makefile", "Makefile")  # in the order in which make looks for them
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Project:
    """A folder of the user's. Raises UsageError for one that cannot be read."""

    folder: Path

    def __post_init__(self) -> None:
        try:
            os.listdir(self.folder)
        except FileNotFoundError:
            raise UsageError(
                f"folder {self.folder} does not exist; create it first: mkdir -p {self.folder}"
            ) from None
        except NotADirectoryError:
            raise UsageError(f"{self.folder} is not a folder; name that of your project") from None
        except OSError as problem:
            raise UsageError(
                f"folder {self.folder} cannot be read: {problem.strerror}; name another"
            ) from None

    def text(self, path: str | Path) -> str:
        """A file, as far as it is text; empty where it cannot be read."""
        try:
            file = self.folder / path
            return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
        except OSError:
            return ""

    @cached_property
    def pyproject(self) -> Mapping[str, Any]:
        """pyproject.toml; empty where it is missing or cannot be read."""
        try:
            return tomllib.loads(self.text("pyproject.toml"))
        except (ValueError, RecursionError):
            return {}

    @property
    def suite_name(self) -> str:
        """The name of a suite and of its file: that of the project, or of the folder; never that of a module.

        The folder of a suite comes first where Python looks for modules, so that its file would hide the module.
        """
        called = self._table("project").get("name", self._table("tool", "poetry").get("name"))
        text = called if isinstance(called, str) else self.folder.resolve().name
        name = re.sub(r"[^a-z0-9]+", "_", text.lower())[:_LONGEST_NAME].strip("_") or "mine"
        return f"{name}_loop" if self._has_module(name) else name

    def _has_module(self, name: str) -> bool:
        """Whether Python, or the project, has a module of this name."""
        places = (self.folder, self.folder / "src")
        return importlib.util.find_spec(name) is not None or any(
            (place / name).is_dir() or (place / f"{name}.py").exists() for place in places
        )

    @property
    def requirements(self) -> str:
        """The arguments of pip that install it where that is possible, or what it requires."""
        if self._is_distribution:
            # So that `bench ab` finds the code of each side by its path.
            return " --config-settings editable_mode=compat -e ." if self._by_setuptools else " -e ."
        return " -r requirements.txt" if (self.folder / "requirements.txt").is_file() else ""

    @property
    def packages_are_searched(self) -> bool:
        """Whether setuptools takes each folder at the top for a package, as it does where nothing names them."""
        named = self._table("tool", "setuptools").keys() & {"packages", "py-modules"}
        elsewhere = any((self.folder / name).exists() for name in ("setup.py", "setup.cfg", "src"))
        return self._is_distribution and self._by_setuptools and not named and not elsewhere

    @property
    def _is_distribution(self) -> bool:
        return (
            bool(self.pyproject.keys() & {"project", "build-system"}) or (self.folder / "setup.py").is_file()
        )

    @property
    def _by_setuptools(self) -> bool:
        backend = self._table("build-system").get("build-backend", "setuptools.build_meta")
        return str(backend).startswith("setuptools")

    @property
    def makefile(self) -> str:
        """The name of its Makefile; empty where it has none."""
        there = set(os.listdir(self.folder))
        return next((name for name in _MAKEFILES if name in there), "")

    @property
    def repository(self) -> Path | None:
        """The top of the repository around it; None where there is none."""
        here = self.folder.resolve()
        return next((one for one in (here, *here.parents) if (one / ".git").exists()), None)

    def _table(self, *names: str) -> Mapping[str, Any]:
        """A table of pyproject.toml; empty where it has none."""
        table: Any = self.pyproject
        for name in names:
            table = table.get(name) if isinstance(table, Mapping) else None
        return table if isinstance(table, Mapping) else {}
