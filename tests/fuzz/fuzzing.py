"""`python -m tests.fuzz.fuzzing NAME [OPTION...]`: one target under atheris; options are those of libFuzzer."""

import logging
import sys

import atheris  # type: ignore[import-not-found]  # it has an environment of its own
import structlog

with atheris.instrument_imports(
    include=["ashore", "ashore_discovery", "ashore_manufacturer", "ashore_rendezvous", "defusedxml"]
):
    from tests.fuzz.targets import BY_NAME

# A line for each input that is refused would take longer than refusing it.
structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
atheris.Setup([sys.argv[0], *sys.argv[2:]], BY_NAME[sys.argv[1]])
atheris.Fuzz()
