"""The text of a file that anybody may have saved: UTF-8, or UTF-16 where a mark in front says so, as on Windows."""

from __future__ import annotations

import codecs

_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decoded(data: bytes) -> str:
    """The text, without its mark. Raises UnicodeDecodeError where it is neither."""
    if data.startswith(_UTF_16):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def undecodable(data: bytes, problem: UnicodeDecodeError) -> str:
    """What is wrong with it, in words."""
    kind = "UTF-16" if data.startswith(_UTF_16) else "UTF-8"
    return f"is not {kind} text, from byte {problem.start} on"
