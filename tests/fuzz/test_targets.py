"""The targets of the fuzzer take what they begin with, and what it has once found; `make fuzz` looks for more."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
def test_a_reader_takes_what_devices_send_and_any_part_of_it(target: Target) -> None:
    for seed in TARGETS[target]:
        target(seed)
        for cut in range(0, len(seed), 7):
            target(seed[:cut])
            target(seed[:cut] + seed[cut + 1 :])


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.__name__)
@given(data=st.binary(max_size=300))
@settings(max_examples=50, deadline=None)
def test_a_reader_takes_any_bytes(target: Target, data: bytes) -> None:
    target(data)
