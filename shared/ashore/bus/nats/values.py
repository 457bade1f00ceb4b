"""Values that expire: the last message on each subject of RENDEZVOUS.

Not nats-py's key-value store, which forgets the time to live of a key that is updated, and answers None-valued entries
for expired ones. The stream itself does all that is needed.
"""

from secrets import token_hex

from ashore.bus import BusUnavailable, NoResponder
from ashore.bus.nats import calls
from ashore.bus.nats.link import Connection, Link, status
from ashore.events import RENDEZVOUS

_SECONDS = 3.0
_NOT_FOUND = "404"


async def put(link: Link, subject: str, body: bytes, ttl: int | None, expected: int | None) -> int:
    """See `Bus.put`."""
    headers = {"Nats-Msg-Id": token_hex(16)}
    if ttl is not None:
        headers["Nats-TTL"] = f"{ttl}s"
    if expected is not None:
        headers["Nats-Expected-Last-Subject-Sequence"] = str(expected)
    return await calls.store(link, subject, body, headers)


async def get(link: Link, subject: str) -> bytes | None:
    """See `Bus.get`."""
    return await calls.repeated(link, lambda connection: _get(connection, subject))


async def _get(connection: Connection, subject: str) -> bytes | None:
    # The subject stands in the request's own subject, so that permissions can say which values a user may read.
    try:
        message = await connection.request(f"$JS.API.DIRECT.GET.{RENDEZVOUS.name}.{subject}", b"", seconds=_SECONDS)
    except NoResponder as error:
        raise BusUnavailable(f"the stream {RENDEZVOUS.name} does not answer, or is not declared yet") from error
    code = status(message)
    if code == _NOT_FOUND:
        return None
    if code is not None:
        raise BusUnavailable(f"reading {subject}: {code} {(message.headers or {}).get('Description', '')}")
    marker = (message.headers or {}).get("Nats-Marker-Reason")
    return None if marker else message.data


async def delete(link: Link, subject: str) -> None:
    """See `Bus.delete`. Purging leaves no marker behind, so that the subject is at once as if it had never been."""
    await calls.call(link, f"STREAM.PURGE.{RENDEZVOUS.name}", {"filter": subject})


async def keys(link: Link, subject_filter: str) -> list[str]:
    """See `Bus.keys`."""
    found: dict[str, object] = {}
    while True:
        request = {"subjects_filter": subject_filter, "offset": len(found)}
        info = await calls.call(link, f"STREAM.INFO.{RENDEZVOUS.name}", request)
        state = info["state"]
        page = state.get("subjects") if isinstance(state, dict) else None
        if not page:
            return sorted(found)
        found.update(page)
