"""Slugs: any text becomes a name that files, Prometheus and Kubernetes accept, or nothing."""

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mutations import FEW, MANY, examples
from worker.contract.records import MAX_SLUG_LENGTH, slug


@pytest.mark.parametrize("number", [10 * FEW, pytest.param(10 * MANY, marks=pytest.mark.full)])
def test_any_text_becomes_a_name_that_stays_what_it_is(number: int) -> None:
    @given(st.text() | st.text(st.characters(max_codepoint=0x17F), max_size=60))
    @examples(number)
    def check(text: str) -> None:
        name = slug(text)

        assert re.fullmatch(r"([a-z0-9]([a-z0-9-]*[a-z0-9])?)?", name)
        assert len(name) <= MAX_SLUG_LENGTH
        assert "--" not in name
        assert slug(name) == name
        assert slug(f" {text.upper()} ") == slug(text.upper())
        assert bool(name) == bool(re.search("[a-zA-Z0-9]", _plain(text)))

    check()


def _plain(text: str) -> str:
    """Return what is left of a text when letters have lost their marks, as in a dictionary."""
    return unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
