"""The last words of a worker: whole JSON, and no longer than what Kubernetes keeps of them."""

from hypothesis import given
from hypothesis import strategies as st

from worker.__main__ import encode_last_words
from worker.contract.results import Failure

MAX_BYTES = 4096

short_texts = st.text(max_size=100)
long_texts = st.builds(lambda text, times: text * times, st.text(min_size=1), st.integers(500, 5000))
failures = st.builds(
    Failure, exit_code=st.integers(-64, 255), problem=short_texts | long_texts, remedy=short_texts | long_texts
)


@given(failures)
def test_last_words_are_whole_and_fit(failure: Failure) -> None:
    encoded = encode_last_words(failure)
    kept = Failure.model_validate_json(encoded)
    assert len(encoded) <= MAX_BYTES
    assert kept.exit_code == failure.exit_code
    for text, whole in ((kept.problem, failure.problem), (kept.remedy, failure.remedy)):
        assert text == whole or (text.endswith("…") and whole.startswith(text[:-1]))


@given(st.builds(Failure, exit_code=st.integers(0, 255), problem=short_texts, remedy=short_texts))
def test_words_that_fit_are_left_as_they_are(failure: Failure) -> None:
    assert Failure.model_validate_json(encode_last_words(failure)) == failure


def test_a_long_problem_leaves_the_remedy_whole_and_uses_the_room() -> None:
    encoded = encode_last_words(Failure(exit_code=1, problem="ü" * 100_000, remedy="Look at the log."))
    assert Failure.model_validate_json(encoded).remedy == "Look at the log."
    assert len(encoded) > MAX_BYTES * 0.8
