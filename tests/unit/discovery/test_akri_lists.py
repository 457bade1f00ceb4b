"""Full lists turned into differences: what is new, what is gone, and of what nobody knows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ashore_discovery.listening.akri.details import Query
from ashore_discovery.listening.akri.lists import MOST_BYTES, Difference, Listed, ListError, Lists, Stream, Whole

ONE = Stream("one", Query("a"))
TWO = Stream("two", Query("a"))
OTHER = Stream("one", Query("b"))


def whole(*ids: str, text: str = "", unusable: tuple[str, ...] = (), size: int = 0) -> Whole:
    devices = {id_: Listed(id=id_, properties={"TEXT": text}) for id_ in ids}
    return Whole(devices=devices, unusable=dict.fromkeys(unusable, "too large"), size=size)


def test_the_first_list_is_all_new_and_the_same_again_is_nothing() -> None:
    lists = Lists()
    assert lists.take(ONE, whole("x", "y")).seen == ["x", "y"]
    assert lists.take(ONE, whole("x", "y")) == Difference()


def test_what_a_list_leaves_out_is_gone_and_what_is_different_is_seen() -> None:
    lists = Lists()
    lists.take(ONE, whole("x", "y"))
    assert lists.take(ONE, whole("y", text="new")) == Difference(seen=["y"], gone=["x"])
    assert not lists.knows("x")


def test_what_another_stream_lists_is_not_gone_but_offered_differently() -> None:
    lists = Lists()
    lists.take(ONE, whole("x"))
    lists.take(OTHER, whole("x", text="b"))
    assert lists.take(ONE, whole()) == Difference(seen=["x"])
    assert lists.listing("x").by_query == {OTHER.query: Listed(id="x", properties={"TEXT": "b"})}


def test_a_lost_stream_leaves_doubt_only_about_what_nobody_else_lists() -> None:
    lists = Lists()
    lists.take(ONE, whole("x", "y"))
    lists.take(TWO, whole("y"))
    assert lists.lose(ONE) == Difference(doubted=["x"])
    assert lists.lose(ONE) == Difference()
    assert (lists.lives("x"), lists.knows("x"), lists.lives("y")) == (False, True, True)


def test_a_stream_that_is_back_is_believed_again() -> None:
    lists = Lists()
    lists.take(ONE, whole("x", "y"))
    lists.lose(ONE)
    assert lists.take(ONE, whole("x")) == Difference(seen=["x"], gone=["y"])


def test_what_only_a_lost_stream_still_lists_is_doubted_and_not_gone() -> None:
    lists = Lists()
    lists.take(ONE, whole("x"))
    lists.take(TWO, whole("x"))
    lists.lose(TWO)
    assert lists.take(ONE, whole()) == Difference(doubted=["x"])
    assert lists.drop(TWO) == Difference(gone=["x"])


def test_of_two_that_answer_the_same_the_living_one_is_offered() -> None:
    lists = Lists()
    lists.take(ONE, whole("x", text="one"))
    lists.take(TWO, whole("x", text="two"))
    for lost, text in ((ONE, "two"), (TWO, "one")):
        lists.take(ONE, whole("x", text="one"))
        lists.take(TWO, whole("x", text="two"))
        lists.lose(lost)
        assert lists.listing("x").by_query[ONE.query].properties == {"TEXT": text}


def test_a_device_that_has_become_unusable_stays_as_it_was() -> None:
    lists = Lists()
    lists.take(ONE, whole("x"))
    assert lists.take(ONE, whole(unusable=("x", "y"))) == Difference()
    assert lists.lives("x")
    assert not lists.knows("y")


def test_lists_that_are_too_large_together_are_refused() -> None:
    lists = Lists()
    lists.take(ONE, whole("x", size=MOST_BYTES))
    lists.take(ONE, whole("x", size=MOST_BYTES))
    with pytest.raises(ListError, match="larger than"):
        lists.take(TWO, whole("y", size=1))
    assert not lists.knows("y")


IDS = st.lists(st.sampled_from("abcd"), unique=True)
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["take", "lose", "drop"]), st.sampled_from([ONE, TWO, OTHER]), IDS, st.sampled_from("uv")
    ),
    max_size=40,
)


@given(STEPS)
def test_whoever_follows_the_differences_knows_what_the_lists_say(
    steps: list[tuple[str, Stream, list[str], str]],
) -> None:
    lists = Lists()
    truth: dict[Stream, tuple[bool, dict[str, str]]] = {}
    follower: dict[str, str] = {}
    for verb, stream, ids, text in steps:
        if verb == "take":
            found = lists.take(stream, whole(*ids, text=text))
            truth[stream] = (True, dict.fromkeys(ids, text))
        elif verb == "lose":
            found = lists.lose(stream)
            if stream in truth:
                truth[stream] = (False, truth[stream][1])
        else:
            found = lists.drop(stream)
            truth.pop(stream, None)
        for id_ in found.gone:
            del follower[id_]
        follower |= dict.fromkeys(found.doubted, "unknown") | dict.fromkeys(found.seen, "present")
        listed = {id_ for _, listed in truth.values() for id_ in listed}
        living = {id_ for alive, listed in truth.values() if alive for id_ in listed}
        assert follower == {id_: "present" if id_ in living else "unknown" for id_ in listed}
        assert not set(found.gone) & {*found.seen, *found.doubted}
