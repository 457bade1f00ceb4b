"""Declares the streams of `ashore.events`, and refuses servers that would keep only a part of the promise.

A server answers with the configuration that it has understood. A feature unknown to it is silently missing from that
echo, so the echo is compared, not trusted.
"""

import asyncio

import structlog

from ashore.bus import BusUnavailable, NotPermitted, ServerTooOld, versions
from ashore.bus.nats.jetstream import JSON, NANOSECONDS, NotFound, call
from ashore.bus.nats.link import Connection
from ashore.events import STREAMS, Stream

_WAIT_SECONDS = 2.0
# What operators may tune in a stream that exists (age, size, replicas, compression) is left as they have set it.
_ESSENTIAL = ("max_msgs_per_subject", "discard", "retention", "allow_msg_ttl", "allow_direct")
_log = structlog.get_logger()


async def check_server(connection: Connection) -> None:
    """Raise ServerTooOld for a server below 2.12, or without the JetStream API of 2.12."""
    versions.refuse_old_version(connection.version)
    info = await call(connection, "INFO")
    versions.refuse_old_api(info.get("api"), connection.version)


async def declare(connection: Connection, replicas: int) -> None:
    """Make every stream what it should be, or wait until someone with the right to do so has."""
    for stream in STREAMS:
        said = False
        while not await _declare_one(connection, stream, replicas):
            if not said:
                _log.warning(
                    "stream missing",
                    stream=stream.name,
                    remedy="this user may not create it: start `ashore up`, or declare the streams as `admin`",
                )
                said = True
            await asyncio.sleep(_WAIT_SECONDS)


async def missing(connection: Connection) -> list[str]:
    """Name the streams that are not there."""
    absent = []
    for stream in STREAMS:
        try:
            await call(connection, f"STREAM.INFO.{stream.name}")
        except NotFound:
            absent.append(stream.name)
    return absent


async def _declare_one(connection: Connection, stream: Stream, replicas: int) -> bool:
    wanted = configuration(stream)
    try:
        current = await _configuration_of(connection, stream)
        if current is None:
            fresh: JSON = {**wanted, "num_replicas": replicas}
            _compare(stream, fresh, await call(connection, f"STREAM.CREATE.{stream.name}", fresh))
            _log.info("stream created", stream=stream.name)
        elif not _serves(current, wanted):
            merged = _merged(current, wanted)
            _compare(stream, wanted | merged, await call(connection, f"STREAM.UPDATE.{stream.name}", merged))
            _log.info("stream updated", stream=stream.name)
    except NotPermitted:
        return False
    return True


async def _configuration_of(connection: Connection, stream: Stream) -> JSON | None:
    try:
        info = await call(connection, f"STREAM.INFO.{stream.name}")
    except NotFound:
        return None
    return _config(info)


def configuration(stream: Stream) -> JSON:
    """Return the stream in the server's own terms."""
    wanted: JSON = {
        "name": stream.name,
        "description": stream.description,
        "subjects": list(stream.subjects),
        "storage": "file",
        "retention": "limits",
        "discard": stream.discard,
        "max_age": stream.max_age_seconds * NANOSECONDS,
        "max_msgs_per_subject": stream.max_msgs_per_subject or -1,
        "max_msg_size": stream.max_msg_size or -1,
        "max_bytes": stream.max_bytes or -1,
        "duplicate_window": stream.duplicate_window_seconds * NANOSECONDS,
        "allow_direct": True,
    }
    return {**wanted, "allow_msg_ttl": True} if stream.allow_msg_ttl else wanted


def _serves(current: JSON, wanted: JSON) -> bool:
    # A newer release may have added subjects already; an older one must live with that.
    return set(_subjects(wanted)) <= set(_subjects(current)) and all(
        (current.get(key) or False) == (wanted.get(key) or False) for key in _ESSENTIAL
    )


def _merged(current: JSON, wanted: JSON) -> JSON:
    subjects = list(dict.fromkeys([*_subjects(current), *_subjects(wanted)]))
    return {**current, **{key: wanted[key] for key in _ESSENTIAL if key in wanted}, "subjects": subjects}


def _compare(stream: Stream, sent: JSON, info: JSON) -> None:
    echo = _config(info)
    lost = [key for key in sent if key in configuration(stream) and echo.get(key) != sent[key]]
    if lost:
        raise ServerTooOld(f"this NATS server has not taken over {', '.join(sorted(lost))} of the stream {stream.name}")


def _config(info: JSON) -> JSON:
    config = info.get("config")
    if not isinstance(config, dict):
        raise BusUnavailable("the server described a stream without its configuration")
    return config


def _subjects(config: JSON) -> list[str]:
    subjects = config.get("subjects")
    return subjects if isinstance(subjects, list) else []
