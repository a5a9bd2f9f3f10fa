"""Pieces of bytes are written as if they lay together."""

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from cytotable_dagster.core.support import pieces
from cytotable_dagster.core.support.pieces import Content, write_pieces

SOME = st.lists(st.binary(max_size=40), max_size=20)


@settings(deadline=None)
@given(parts=SOME, views=st.booleans())
def test_any_pieces_are_written_whole_and_in_order(parts, views):
    before = pieces._BLOCK
    pieces._BLOCK = 16
    try:
        out = io.BytesIO()
        assert write_pieces(out, [memoryview(part) if views else part for part in parts]) == sum(map(len, parts))
    finally:
        pieces._BLOCK = before
    assert out.getvalue() == b"".join(parts)


@given(parts=SOME, footer=st.binary(max_size=10))
def test_content_is_its_pieces_and_what_closes_it(parts, footer):
    content = Content(parts, footer)
    assert content.to_bytes() == b"".join(parts) + footer
    assert content.size == len(content.to_bytes())
