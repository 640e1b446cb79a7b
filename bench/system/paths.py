"""Paths as text: what lies in a folder, whose code a file is, and any text as the name of a file."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterable
from pathlib import Path

HARNESS = str(Path(__file__).parents[1])

# What lies here is not the user's own code.
FOREIGN = (*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")), HARNESS)

# Bytes of the part of a name that is made of text: file systems take names of 255, some of 143, and a digest and
# an ending come behind it.
_NAME_BYTES = 100
_DIGEST = 12  # hexadecimal digits: of a million names no two are alike


def is_in(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of these folders or lies below one; `bench` does not hold `benchmarks`."""
    return any(path == folder or path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def is_own(file: str) -> bool:
    """Whether a file of code is the user's: neither the interpreter's, an installed package's, nor Epochbench's.

    A path is absolute, as Python has those of modules; `<string>` and `numpy/random/mtrand.pyx`, which a compiled
    package names, are no files here.
    """
    return os.path.isabs(file) and not is_in(file, FOREIGN)


def file_name(text: str) -> str:
    """Text as the beginning of a file name that no other text has.

    Letters, digits and "-_=." stay, as far as they fit. A digest distinguishes names that would be
    equal otherwise: cut text, replaced characters, and what some file systems ignore (capitals, forms of an accent).
    """
    plain = "".join(c if c.isalnum() or c in "-_=." else "-" for c in text)
    plain = plain.encode()[:_NAME_BYTES].decode(errors="ignore")
    if plain == text == text.lower() and text.isascii() and not text.startswith(".") and text:
        return plain
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{plain.lstrip('.')}-{digest}"
