"""Keys of the default collation: what has no weight, and what has."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tdsproxy.store.encoding import storable_text
from tdsproxy.tsql.collation import collation_key, key

_WEIGHTLESS = st.text("\u200d\u200e\ufeff\ufffd\ufffe\uffff\ud83e\udd86\U0001f986", min_size=1, max_size=3)
_WORDS = st.text("aAbB\u00e1\u0100z19_{- ", max_size=6)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(_WORDS, _WEIGHTLESS, _WORDS)
def test_what_has_no_weight_changes_no_key(before: str, weightless: str, after: str) -> None:
    plain = collation_key(before + "x" + after)
    assert collation_key(before + weightless + "x" + after) == plain
    assert collation_key(storable_text(before + weightless + "x" + after)) == plain


def test_other_special_characters_have_weight() -> None:
    for char in "\u00ad\u0300\u0301\u200b\u200c\u2028\ue000":
        assert collation_key(f"a{char}b") != collation_key("ab"), hex(ord(char))


def test_binary_and_case_sensitive_collations_tell_them_apart() -> None:
    for collation in ("Latin1_General_BIN2", "SQL_Latin1_General_CP1_CS_AS"):
        assert key("a\ufffdb", collation) != key("ab", collation)
