"""The JetStream streams that keep the events, declared here and nowhere else."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from ashore.events.envelopes import FACT_EVENTS, PRESENCE_EVENTS
from ashore.events.model import EventError


class Stream(msgspec.Struct, frozen=True, kw_only=True):
    """What JetStream shall keep, and for how long. Zero means: no limit."""

    name: str
    description: str
    subjects: tuple[str, ...]
    max_age_seconds: int = 0
    max_msgs_per_subject: int = 0
    max_msg_size: int = 0
    max_bytes: int = 0
    discard: Literal["old", "new"] = "old"
    allow_msg_ttl: bool = False
    duplicate_window_seconds: int = 600


_DAY = 24 * 60 * 60

FACTS = Stream(
    name="FACTS",
    description="Every fact, once",
    subjects=tuple(f"{event.name}.>" for event in FACT_EVENTS),
    max_age_seconds=90 * _DAY,
)
PRESENCE = Stream(
    name="PRESENCE",
    description="What is there: the last message on a subject is the state",
    subjects=tuple(f"{event.name}.>" for event in PRESENCE_EVENTS),
    max_msgs_per_subject=5,
)
RENDEZVOUS = Stream(
    name="RENDEZVOUS",
    description="Where owners are, until their registrations end",
    subjects=("rendezvous-blob.>", "rendezvous-rule.>"),
    max_msgs_per_subject=1,
    max_msg_size=64 * 1024,
    # A full store refuses the next TO0. To evict the oldest would strand a device whose owner believes in it.
    max_bytes=512 * 1024 * 1024,
    discard="new",
    allow_msg_ttl=True,
    duplicate_window_seconds=120,
)
DEAD_LETTERS = Stream(
    name="DEAD_LETTERS",
    description="Messages that a service could not handle",
    subjects=("dead-letter.>",),
    max_age_seconds=30 * _DAY,
)
STREAMS: tuple[Stream, ...] = (FACTS, PRESENCE, RENDEZVOUS, DEAD_LETTERS)

_STREAMS_BY_NAME = {subject.partition(".")[0]: stream for stream in STREAMS for subject in stream.subjects}


def stream_of(subjects: Sequence[str]) -> Stream:
    """The one stream that holds these subjects, event names or filters; `>` means FACTS. EventError otherwise."""
    found = {stream.name: stream for stream in map(_stream_of_one, subjects)}
    if len(found) != 1:
        raise EventError(f"{', '.join(subjects) or 'no subject'}: name subjects of exactly one stream")
    return next(iter(found.values()))


def _stream_of_one(subject: str) -> Stream:
    if subject == ">":
        return FACTS
    stream = _STREAMS_BY_NAME.get(subject.partition(".")[0])
    if stream is None:
        raise EventError(f"no stream holds {subject!r}; the event names are {', '.join(sorted(_STREAMS_BY_NAME))}")
    return stream
