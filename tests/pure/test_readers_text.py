"""The encodings that files of other tools come in."""

from __future__ import annotations

import pytest

from bench.system.text import decoded, undecodable

TEXT = '{"größe": "漢字"}\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_without_its_mark(encoding):
    assert decoded(TEXT.encode(encoding)) == TEXT


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"a\xe9", "is not UTF-8 text, from byte 1 on"), (b"\xff\xfea", "is not UTF-16 text, from byte")],
)
def test_what_is_no_text_is_said_with_its_place(data, why):
    with pytest.raises(UnicodeDecodeError) as caught:
        decoded(data)
    assert undecodable(data, caught.value).startswith(why)
