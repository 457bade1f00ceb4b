"""Dead letters from the command line: seen, tried again at the service that failed, dropped."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ashore.bus.nats import NatsBus, connect
from ashore.events import DeadLetter, Envelope, VoucherExtended, encode, envelope, open_event
from tests.stack import Done, Running, ashore, running

pytestmark = pytest.mark.e2e


async def letters(stack: Running, *words: str) -> Done:
    done = await ashore("streams", "letters", *words, "-o", "json", data=stack.folder)
    assert "Traceback" not in done.error
    return done


async def drop(stack: Running, number: str) -> Done:
    return await ashore("streams", "letters", "drop", number, data=stack.folder)


async def extension(bus: NatsBus, guid: str) -> Envelope:
    """The event with which the manufacturer has sold this device."""
    async for _, found in bus.follow([f"voucher-extended.{guid}"], replay=True):
        return found
    raise AssertionError


def broken(sold: Envelope) -> Envelope:
    """The same, and nobody can read the voucher."""
    event = open_event(sold)
    assert isinstance(event, VoucherExtended)
    wrecked = VoucherExtended(
        guid=event.guid, serial=event.serial, voucher="AAAA", owner_key=event.owner_key, digest=event.digest
    )
    return envelope(wrecked, source="/manufacturer", id="wrecked", time=sold.time)


async def park(stack: Running, *found: Envelope) -> None:
    """Let the owner have given up on these events."""
    bus = await connect(stack.context.nats.url, name="owner", seed_file=str(stack.stack.layout.seed("owner")))
    for number, one in enumerate(found):
        letter = DeadLetter(
            durable="owner",
            event=one.subject.partition(".")[0],
            stream="FACTS",
            sequence=number,
            attempts=8,
            reason="OSError: the disk is full",
            envelope=one,
        )
        wrapped = envelope(letter, source="/owner", id=f"letter-{number}", time=datetime.now(UTC))
        await bus.publish(letter.subject, encode(wrapped), id=wrapped.id)
    await bus.close()


async def test_dead_letters_are_seen_tried_again_and_dropped(tmp_path: Path) -> None:
    async with running(tmp_path / "data") as stack:
        done = await ashore("device", "init", "unlucky", "-o", "json", data=stack.folder)
        [member] = json.loads(done.out)
        async with stack.bus() as bus:
            sold = await extension(bus, member["guid"])
        await ashore("owner", "forget", member["guid"], data=stack.folder)
        await park(stack, sold, broken(sold))

        listed = json.loads((await letters(stack, "list", "--subscriber", "owner")).out)
        assert [(one["number"], one["event"], one["attempts"], one["reason"]) for one in listed] == [
            (1, "voucher-extended", 8, "OSError: the disk is full"),
            (2, "voucher-extended", 8, "OSError: the disk is full"),
        ]
        assert json.loads((await letters(stack, "list", "--event", "device-redirected")).out) == []
        shown = json.loads((await letters(stack, "show", "1")).out)
        assert shown["letter"]["envelope"]["data"]["guid"] == member["guid"]
        doctor = await ashore("doctor", data=stack.folder)
        assert (doctor.code, "2 events could not be handled" in doctor.out) == (1, True)

        retried = await letters(stack, "retry", "--all")
        results = [(one["handled"], bool(one["reason"])) for one in json.loads(retried.out)]
        assert (retried.code, results) == (1, [(True, False), (False, True)])
        owned = await ashore("owner", "show", member["guid"], "-o", "json", data=stack.folder)
        assert json.loads(owned.out)["serial"] == "unlucky"
        assert [one["number"] for one in json.loads((await letters(stack, "list")).out)] == [2]

        assert (await drop(stack, "2")).code == 0
        assert json.loads((await letters(stack, "list")).out) == []
        for refused in (await letters(stack, "show", "2"), await letters(stack, "retry", "2"), await drop(stack, "2")):
            assert (refused.code, "to do:" in refused.error) == (1, True)
        unclear = await letters(stack, "retry")
        assert (unclear.code, "to do:" in unclear.error) == (2, True)
