"""Details are YAML of strangers: what is not JSON, or too much of it, is told in a sentence and costs nothing."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ashore_broker_launcher.desired.details import DetailsError, read

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=5))
def test_whatever_is_json_is_read_as_it_is(data: dict[str, object]) -> None:
    assert read(yaml.safe_dump(data)) == data


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found: object = read(text)
    except DetailsError as error:
        found = {"short": "yes"} if len(str(error)) < 500 else error
    assert isinstance(found, dict)


def test_nothing_is_an_empty_object() -> None:
    assert read("") == read("# only a remark\n") == read("null") == {}


def test_aliases_within_reason_are_read() -> None:
    assert read("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: &a [x, x, x, x, x, x, x, x, x, x]\n"
         + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 10)}]\n" for n in range(8)),
         "aliases make it too large"),
        ("a: &a [*a]", "aliases make it too large"),
        ("a: &a {b: *a}", "aliases make it too large"),
        ("a: " + "[" * 60_000, "nested more than 32 deep"),
        ("{" * 60_000, "nested more than 32 deep"),
        ("- " * 30_000, "nested more than 32 deep"),
        ("a: [" + "1," * 30_000 + "]", "more than 10000 values"),
        ("a: " + "x" * 70_000, "longer than 65536"),
        ("!!python/object/apply:os.system [id]", "could not determine a constructor"),
        ("a: !!binary aGk=", "a is binary: put it in quotes"),
        ("a: !!set {x}", "a is a set: put it in quotes"),
        ("a: 2020-02-30", "it is no YAML"),
        ("a: .nan", "no number that can be sent"),
        ("a: 99999999999999999999", "no number that can be sent"),
        ("1: a", "it has the name 1, which is no text"),
        ("a: {on: b}", "a has the name True, which is no text"),
        ("? [a, b]\n: c", "it is no YAML"),
        ("a: b: c", "in line 1, column 5"),
        ("a\x00b: c", "it is no YAML"),
    ],
    ids=lambda text: text[:12].strip(),
)  # fmt: skip
def test_what_no_handler_could_use_is_refused(text: str, why: str) -> None:
    with pytest.raises(DetailsError) as error:
        read(text)
    assert why in str(error.value)
    assert len(str(error.value)) < 500
