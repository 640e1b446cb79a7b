"""Paths as text: whether a path is in a folder, whether a file is user code, and safe file names from any text."""

from __future__ import annotations

import hashlib
import os
import sysconfig
from collections.abc import Iterable
from pathlib import Path

HARNESS = str(Path(__file__).parents[1])

# Folders whose code is not user code.
FOREIGN = (*map(sysconfig.get_path, ("stdlib", "platstdlib", "purelib", "platlib")), HARNESS)

# Bytes of the readable part of a name: file systems accept names of 255 bytes, some of 143, and a digest and an ending
# follow.
_NAME_BYTES = 100
_DIGEST = 12  # hexadecimal digits: of a million names no two are alike


def is_in(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of these folders or below one; `benchmarks` is not in `bench`."""
    return any(path == folder or path.startswith(folder.rstrip(os.sep) + os.sep) for folder in folders)


def is_own(file: str) -> bool:
    """Whether a source file is user code: not of the interpreter, an installed package, or Epochbench.

    Paths of modules are absolute; names such as `<string>` and `numpy/random/mtrand.pyx` of compiled packages are not
    files here.
    """
    return os.path.isabs(file) and not is_in(file, FOREIGN)


def file_name(text: str) -> str:
    """The beginning of a file name for a text, different for different texts.

    Letters, digits and "-_=." stay, if they fit. A digest distinguishes names that would be equal otherwise: cut text,
    replaced characters, and differences that some file systems ignore (capitals, forms of an accent).
    """
    plain = "".join(c if c.isalnum() or c in "-_=." else "-" for c in text)
    plain = plain.encode()[:_NAME_BYTES].decode(errors="ignore")
    if plain == text == text.lower() and text.isascii() and not text.startswith(".") and text:
        return plain
    digest = hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()[:_DIGEST]
    return f"{plain.lstrip('.')}-{digest}"
