"""What both adapters check before anything is sent, so that a mistake is an error at once and not a timeout."""

from ashore import events
from ashore.bus import MAX_REQUEST_BYTES, BusRefused


def stream_for(subject: str, body: bytes) -> events.Stream:
    """Return the stream that will hold this body; BusRefused if there is none, or the body is too large for it."""
    try:
        stream = events.stream_of([subject])
    except events.EventError as error:
        raise BusRefused(str(error)) from error
    most = stream.max_msg_size or events.MAX_EVENT_BYTES
    if len(body) > most:
        raise BusRefused(f"{len(body)} bytes for {subject}, and {stream.name} takes {most} at most")
    return stream


def check_value(subject: str, body: bytes, ttl: int | None) -> None:
    """Raise BusRefused unless this may be put into RENDEZVOUS."""
    if stream_for(subject, body).name != events.RENDEZVOUS.name:
        raise BusRefused(f"{subject} holds facts; values belong under {', '.join(events.RENDEZVOUS.subjects)}")
    if ttl is not None and ttl < 1:
        raise BusRefused(f"{subject} cannot live for {ttl} s; the shortest life is one second")


def check_request(subject: str, body: bytes) -> None:
    """Raise BusRefused if the request is too large."""
    if len(body) > MAX_REQUEST_BYTES:
        raise BusRefused(f"{len(body)} bytes for {subject}, and a request has {MAX_REQUEST_BYTES} at most")


def matches(subject_filter: str, subject: str) -> bool:
    """Whether the subject is one that the filter means: `*` is one token, `>` at the end is one or more."""
    wanted, found = subject_filter.split("."), subject.split(".")
    if wanted[-1] == ">":
        wanted.pop()
        if len(found) <= len(wanted):
            return False
        found = found[: len(wanted)]
    return len(wanted) == len(found) and all(token in ("*", other) for token, other in zip(wanted, found, strict=True))
