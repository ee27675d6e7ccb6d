"""What happens to files and documents on their way: bytes that flip, go or come, values that become others."""

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

FEW, MANY = 40, 2000
"""Examples of a property: in every test run, and where there is time."""


def examples(number: int) -> settings:
    """Return hypothesis' settings for a property: the same few examples every time, or many and always others."""
    return settings(
        max_examples=number,
        derandomize=number <= FEW,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )


@st.composite
def mutated_bytes(draw: st.DrawFn, original: bytes) -> bytes:
    """Draw bytes that differ from the original in one to three places."""
    content = bytearray(original)
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(content)))
        digits = [place for place, byte in enumerate(content) if byte in b"0123456789"]
        match draw(st.sampled_from(["digit", "digit", "flip", "cut", "insert", "remove", "repeat"])):
            case "digit" if digits:  # often still a document, of another number
                content[draw(st.sampled_from(digits))] = draw(st.sampled_from(b"0123456789"))
            case "flip" if start < len(content):
                content[start] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del content[start:]
            case "insert":
                content[start:start] = draw(st.binary(min_size=1, max_size=8))
            case "remove":
                del content[start : start + draw(st.integers(1, 40))]
            case _:
                content[start:start] = content[start : start + draw(st.integers(1, 40))]
    return bytes(content)


def json_values(*leaves: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return values of every kind that a document may hold, awkward ones among them."""
    plain = st.one_of(
        st.booleans(),
        st.integers(),
        st.sampled_from([0, -1, 2**31, 2**63, 10**400]),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from(
            ["", "\0", "~nobody-of-that-name/x", "./\0", "../..", "tiny:", "a" * 10_000, "frozen", "é", "\U0001d518"]
        ),
        *leaves,
    )
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    )


@st.composite
def mutated_document(draw: st.DrawFn, original: dict[str, Any], values: st.SearchStrategy[Any]) -> dict[str, Any]:
    """Draw a document of which one or two values are others, gone, new or doubled."""
    document = copy.deepcopy(original)
    for _ in range(draw(st.integers(1, 2))):
        place = draw(st.sampled_from(_places(document)))
        draw(st.sampled_from([_replace, _remove, _add]))(place, draw(values))
    return document


Place = tuple[Any, Any]
"""A table or list, and a key or index in it."""


def _places(node: Any) -> list[Place]:  # noqa: ANN401 - any JSON value
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    found = [(node, key) for key, _ in children]
    for _, child in list(node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()):
        found += _places(child)
    return found


def _replace(place: Place, value: Any) -> None:  # noqa: ANN401 - any JSON value
    place[0][place[1]] = value


def _remove(place: Place, _value: Any) -> None:  # noqa: ANN401 - any JSON value
    del place[0][place[1]]


def _add(place: Place, value: Any) -> None:  # noqa: ANN401 - any JSON value
    node, key = place
    if isinstance(node, list):
        node.insert(key, value)
    else:
        node[f"{key}x"] = value


Change = Callable[[Place, Any], None]
