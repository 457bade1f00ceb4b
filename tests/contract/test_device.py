"""The device against manufacturer, rendezvous and owner: it onboards, and it is never bricked."""

import asyncio
import dataclasses
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import msgspec
import pytest

from ashore.fdo import rvinfo
from ashore.fdo.ciphers import CipherSuite
from ashore.fdo.errors import PeerError
from ashore.fdo.kex import KexSuite
from ashore.fdo.serviceinfo.command import RunCommand
from ashore.fdo.serviceinfo.download import DownloadFile
from ashore.fdo.serviceinfo.fdo_sys import WriteFile
from ashore.fdo.serviceinfo.modules import OwnerModule
from ashore.fdo.serviceinfo.upload import UploadFile
from ashore.fdo.types import To2Address
from ashore.fdo.types import Transport as Scheme
from ashore_device.credential_file import Record
from ashore_device.device import Device, Settings
from ashore_device.errors import BusyError, InitialisationError, OnboardingError, StateError, TransportError
from ashore_device.failures import SETTLING_ROUNDS
from ashore_device.fetching import Fetcher
from ashore_device.fleet import Fleet, serials
from ashore_device.host import Policy
from ashore_device.initialise import Request
from ashore_device.onboard import Options
from ashore_device.progress import Progress, Report, ignore
from tests import fdo_kit as kit
from tests.contract.device_world import MAKER_URL, OWNER_URL, RENDEZVOUS_URL, Fault, InProcess, World

QUICK = Options(first_delay=0.001, longest_delay=0.002, rounds=8, done_pauses=(0.0, 0.0))
REQUEST = Request(serial="S-1", device_info="test")
MESSAGES = (10, 12, 30, 32, 60, 62, 64, 66, 68, 70)


class Killed(BaseException):
    """The process is gone: nothing after this is run, but what only closes files."""


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    async with Fetcher() as opened:
        yield opened


Maker = Callable[..., Device]


@pytest.fixture
def make(tmp_path: Path, fetcher: Fetcher) -> Maker:
    """A device as a process that has just started would have it: all that it knows is on disk."""

    def make(transport: InProcess, *, options: Options = QUICK, report: Report = ignore, **settings: object) -> Device:
        return Device(
            tmp_path / "device", transport, fetcher, settings=Settings(options=options, **settings), report=report
        )

    return make


def kill_at(number: int) -> Fault:
    async def fault(given: int) -> None:
        if given == number:
            raise Killed

    return fault


def lose(number: int, times: int = 1) -> Fault:
    left = [times]

    async def fault(given: int) -> None:
        if given == number and left[0] > 0:
            left[0] -= 1
            raise TransportError("the connection was lost")

    return fault


def steps() -> list[OwnerModule]:
    return [WriteFile("hello.txt", b"hello"), RunCommand(["sh", "-c", "echo $DEVICE_SERIAL > serial.txt; echo done"])]


@pytest.mark.parametrize("encoding", ["x509", "x5chain", "cose"])
@pytest.mark.parametrize("kind", kit.KINDS)
async def test_every_kind_of_device_is_initialised_and_onboarded(make: Maker, kind: str, encoding: str) -> None:
    world = World(kind=kind, steps=steps)
    device = make(InProcess(world))
    record = await device.initialise(MAKER_URL, Request(kind=kind, encoding=encoding, serial="S-1", device_info="x"))
    assert (record.state, record.serial, record.device_info) == ("initialised", "S-1", "x")
    done = await device.onboard()
    assert done.confirmed
    assert done.owner_url == OWNER_URL
    assert world.commits == [(bytes.fromhex(done.old_guid), bytes.fromhex(done.guid))]
    assert device.show().guid == done.guid
    assert (device.files / "hello.txt").read_bytes() == b"hello"
    assert (device.files / "serial.txt").read_text() == "S-1\n"
    assert [outcome.state for outcome in world.conversations[-1].outcomes] == ["done", "done"]


@pytest.mark.parametrize("owner_kind", kit.KINDS)
async def test_the_device_finds_the_key_exchange_that_suits_its_owner(make: Maker, owner_kind: str) -> None:
    world = World(kind=owner_kind)
    device = make(InProcess(world))
    await device.initialise(MAKER_URL, REQUEST)
    assert (await device.onboard()).confirmed
    assert world.hellos[-1].kex_suite is kit.KEX[owner_kind]


async def test_only_the_chosen_algorithms_are_proposed(make: Maker) -> None:
    world = World(kind="rsa2048")
    options = msgspec.structs.replace(QUICK, kex=KexSuite.ASYMKEX2048, cipher=CipherSuite.COSEAES256CTR)
    device = make(InProcess(world), options=options)
    await device.initialise(MAKER_URL, REQUEST)
    await device.onboard()
    assert [(hello.kex_suite, hello.cipher_suite) for hello in world.hellos] == [(options.kex, options.cipher)]


async def test_a_key_exchange_that_no_owner_takes_is_explained(make: Maker) -> None:
    options = msgspec.structs.replace(QUICK, kex=KexSuite.ECDH384, rounds=1)
    device = make(InProcess(World()), options=options)
    await device.initialise(MAKER_URL, REQUEST)
    with pytest.raises(OnboardingError, match=r"device S-1 \([0-9a-f]{32}\).*ECDH384.*choose a key exchange"):
        await device.onboard()


async def test_a_device_that_is_onboarded_says_so_and_starts_over_only_when_told(make: Maker) -> None:
    world = World()
    device = make(InProcess(world))
    await device.initialise(MAKER_URL, REQUEST)
    first = await device.onboard()
    with pytest.raises(StateError, match="onboarded already"):
        await device.onboard()
    with pytest.raises(StateError, match="initialised already"):
        await device.initialise(MAKER_URL, REQUEST)
    second = await device.onboard(again=True)
    assert second.old_guid == first.guid
    assert len(world.commits) == 2


async def test_a_device_without_a_credential_is_told_what_to_do(make: Maker) -> None:
    device = make(InProcess(World()))
    with pytest.raises(StateError, match="initialise it first"):
        await device.onboard()
    with pytest.raises(StateError, match="initialise it first"):
        device.show()


async def test_a_credential_is_reused_only_where_that_is_allowed(make: Maker) -> None:
    world = World(reuse=True)
    await make(InProcess(world)).initialise(MAKER_URL, REQUEST)
    strict = msgspec.structs.replace(QUICK, allow_reuse=False, rounds=1)
    with pytest.raises(OnboardingError, match="allow reuse"):
        await make(InProcess(world), options=strict).onboard()
    assert [error.code for error in world.errors] == [102]
    done = await make(InProcess(world)).onboard()
    assert done.reused
    assert done.guid == done.old_guid


# The way to the owner.


async def test_directives_and_addresses_are_tried_in_order_names_first(make: Maker) -> None:
    world = World(
        directives=[
            rvinfo.Directive(dns="owners.example", protocol="http", owner_port=1, owner_only=True),
            rvinfo.Directive(dns="coap.example", protocol="coap"),
            rvinfo.Directive(dns="first.example", ip="192.0.2.1", protocol="http", device_port=81),
            rvinfo.Directive(dns="rv.example", protocol="https"),
        ],
        addresses=[
            To2Address(None, "tcp.example", 1, Scheme.TCP),
            To2Address(b"\xc0\x00\x02\x07", "bad host/../x", 82, Scheme.HTTP),
            To2Address(bytes.fromhex("20010db8000000000000000000000001"), "owner.example", 443, Scheme.HTTPS),
        ],
    )
    transport = InProcess(world)
    away = ["http://first.example:81", "http://192.0.2.1:81", "http://192.0.2.7:82", "https://owner.example:443"]
    transport.unreachable = set(away)
    device = make(transport)
    await device.initialise(MAKER_URL, REQUEST)
    transport.urls.clear()
    done = await device.onboard()
    assert done.owner_url == "https://[2001:db8::1]:443"
    expected = [*away[:2], "https://rv.example:443", *away[2:], done.owner_url]
    assert list(dict.fromkeys(transport.urls)) == expected


async def test_a_bypass_leads_straight_to_the_owner(make: Maker) -> None:
    world = World(directives=[rvinfo.Directive(dns="owner.example", protocol="http", device_port=8042, rv_bypass=True)])
    transport = InProcess(world)
    device = make(transport)
    await device.initialise(MAKER_URL, REQUEST)
    assert (await device.onboard()).owner_url == OWNER_URL
    assert 30 not in world.numbers


@pytest.mark.parametrize(
    "new",
    [
        [],
        [rvinfo.Directive(dns="rv.example", protocol="http", owner_only=True)],
        [rvinfo.Directive(dns="rv.example", protocol="tcp", device_port=8040)],
        [rvinfo.Directive(rv_bypass=True, protocol="http")],
        [rvinfo.Directive(ip="0.0.0.0", protocol="http")],
    ],
    ids=["none", "for owners", "another protocol", "a bypass to nobody", "no host"],
)
async def test_rendezvous_info_that_leads_nowhere_is_refused_and_changes_nothing(
    make: Maker, new: list[rvinfo.Directive]
) -> None:
    world = World(new_info=rvinfo.encode(new), steps=steps)
    device = make(InProcess(world), options=msgspec.structs.replace(QUICK, rounds=1))
    before = await device.initialise(MAKER_URL, REQUEST)
    with pytest.raises(OnboardingError, match=r"S-1 .*no address that this device could ask.*correct the info"):
        await device.onboard()
    assert [(error.code, error.previous) for error in world.errors] == [(101, 65)]
    assert "the device keeps its credential" in world.errors[0].text
    assert device.show() == before
    assert not (device.files / "hello.txt").exists()
    assert world.commits == []
    world.new_info = None
    assert (await device.onboard()).confirmed


async def test_rendezvous_info_that_is_out_of_reach_today_is_taken(make: Maker) -> None:
    elsewhere = rvinfo.encode([rvinfo.Directive(dns="tomorrow.example", protocol="https", delay_seconds=3600)])
    world = World(new_info=elsewhere)
    device = make(InProcess(world))
    await device.initialise(MAKER_URL, REQUEST)
    assert (await device.onboard()).confirmed
    assert device.show().candidates[0].credential.rv_info == elsewhere


async def test_the_delays_of_the_rendezvous_info_are_kept(make: Maker) -> None:
    world = World(
        directives=[
            rvinfo.Directive(dns="a.example", protocol="http", delay_seconds=0),
            rvinfo.Directive(dns="b.example", protocol="http", delay_seconds=3),
            rvinfo.Directive(dns="rv.example", protocol="http", delay_seconds=0),
        ]
    )
    transport = InProcess(world)
    transport.unreachable = {"http://a.example:80", "http://b.example:80"}
    events: list[Progress] = []
    device = make(transport, report=events.append)
    await device.initialise(MAKER_URL, REQUEST)
    await device.onboard()
    (wait,) = [event.seconds for event in events if event.kind == "waiting"]
    assert 2.25 <= wait <= 3.75


async def test_a_device_waits_for_an_owner_who_registers_late(make: Maker) -> None:
    world = World()
    device = make(transport := InProcess(world))
    await device.initialise(MAKER_URL, REQUEST)
    hidden, world.blobs = world.blobs, {}

    async def appear(_number: int) -> None:
        if world.numbers.count(30) == 3:
            world.blobs = hidden

    transport.before = appear
    assert (await device.onboard()).rounds == 4


async def test_a_device_gives_up_after_its_rounds_and_says_why(make: Maker) -> None:
    world = World()
    device = make(InProcess(world))
    await device.initialise(MAKER_URL, REQUEST)
    world.blobs.clear()
    with pytest.raises(OnboardingError, match=r"S-1 .*no owner has registered.*import the device's voucher"):
        await device.onboard()
    assert world.numbers.count(30) == QUICK.rounds


async def test_an_impostor_is_refused_and_told_why(make: Maker) -> None:
    world = World()
    device = make(InProcess(world), options=msgspec.structs.replace(QUICK, rounds=1))
    await device.initialise(MAKER_URL, REQUEST)
    (guid,) = world.vouchers
    other = kit.initialise()[1]
    genuine = world.vouchers[guid]
    # The impostor has a voucher of the right GUID whose HMAC the device has never made.
    world.vouchers[guid] = dataclasses.replace(genuine, hmac=other.hmac)
    with pytest.raises(OnboardingError, match="HMAC was not made by this device"):
        await device.onboard()
    assert [(error.code, error.previous) for error in world.errors] == [(2, 61)]
    assert device.show().state == "initialised"


@pytest.mark.parametrize("number", MESSAGES)
async def test_garbage_for_an_answer_is_an_error_and_not_a_crash(make: Maker, number: int) -> None:
    class Garbling(InProcess):
        async def post(self, url_base, given, body, token):
            reply = await super().post(url_base, given, body, token)
            return reply._replace(body=os.urandom(len(reply.body) or 1)) if given == number else reply

    device = make(Garbling(World(steps=steps)), options=msgspec.structs.replace(QUICK, rounds=1))
    with pytest.raises((InitialisationError, OnboardingError)):
        await live(device)


async def test_an_unexpected_number_for_an_answer_is_refused(make: Maker) -> None:
    class Confused(InProcess):
        async def post(self, url_base, given, body, token):
            reply = await super().post(url_base, given, body, token)
            return reply._replace(number=33) if given == 30 else reply

    world = World()
    device = make(Confused(world), options=msgspec.structs.replace(QUICK, rounds=1))
    await device.initialise(MAKER_URL, REQUEST)
    with pytest.raises(OnboardingError, match="answered with 33, not 31"):
        await device.onboard()
    assert [error.code for error in world.errors] == [101]


# Service info.


async def test_files_and_commands_work_both_ways(make: Maker) -> None:
    content = os.urandom(200_000)
    taken = UploadFile("out/copy.bin")
    failing = RunCommand(["sh", "-c", "echo broken >&2; exit 3"], may_fail=True)
    script = RunCommand(["sh", "-c", "mkdir out && cp in.bin out/copy.bin"])
    world = World(steps=lambda: [DownloadFile("in.bin", content), script, taken, failing])
    device = make(InProcess(world))
    await device.initialise(MAKER_URL, REQUEST)
    await device.onboard()
    assert taken.outcome.content == content
    assert (failing.outcome.exit_code, failing.outcome.stderr) == (3, b"broken\n")
    assert (device.files / "in.bin").read_bytes() == content


async def test_a_step_that_must_not_fail_ends_the_onboarding_on_both_sides(make: Maker) -> None:
    world = World(steps=lambda: [RunCommand(["false"])])
    device = make(InProcess(world), options=msgspec.structs.replace(QUICK, rounds=1))
    await device.initialise(MAKER_URL, REQUEST)
    with pytest.raises(OnboardingError, match="exit code 1"):
        await device.onboard()
    assert world.commits == []
    assert device.show().state == "initialised"


async def test_a_device_that_runs_no_programs_says_so(make: Maker) -> None:
    world = World(steps=lambda: [RunCommand(["touch", "ran"])])
    options = msgspec.structs.replace(QUICK, rounds=1)
    device = make(InProcess(world), options=options, policy=Policy(run_programs=False))
    await device.initialise(MAKER_URL, REQUEST)
    with pytest.raises(OnboardingError, match=r"does not offer fdo\.command"):
        await device.onboard()
    assert not (device.files / "ran").exists()


# Killed, cut off, restarted.


def knows(world: World, record: Record) -> bool:
    """Whether the device has the credential of a voucher that the owner has."""
    return any(candidate.credential.guid in world.vouchers for candidate in record.candidates)


async def live(device: Device) -> None:
    """What a device does when it is switched on."""
    try:
        record = device.show()
    except StateError:
        record = None
    if record is None or record.state == "initialising":
        await device.initialise(MAKER_URL, REQUEST)
    await device.onboard()


@pytest.mark.parametrize("serves_again", [True, False])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("number", MESSAGES)
async def test_killed_at_any_message_the_device_comes_ashore_when_it_is_started_again(
    make: Maker, number: int, moment: str, serves_again: bool
) -> None:
    world = World(steps=steps, serves_again=serves_again)
    with pytest.raises(Killed):
        await live(make(InProcess(world, **{moment: kill_at(number)})))
    if number > 12:
        assert knows(world, make(InProcess(world)).show())
    world.forget_sessions()
    await live(make(InProcess(world)))
    record = make(InProcess(world)).show()
    assert record.state == "onboarded"
    assert knows(world, record)
    assert bytes.fromhex(record.guid) == world.commits[-1][1]
    committed_before_the_kill = (number, moment) == (70, "after")
    assert len(world.commits) == (2 if committed_before_the_kill and serves_again else 1)
    assert record.confirmed == (not committed_before_the_kill or serves_again)
    with pytest.raises(StateError, match="onboarded already"):
        await live(make(InProcess(world)))


@pytest.mark.parametrize("second", [60, 64, 68, 70])
async def test_killed_a_second_time_while_it_recovers_it_still_comes_ashore(make: Maker, second: int) -> None:
    world = World(steps=steps)
    for fault in (kill_at(70), kill_at(second), kill_at(70)):
        with pytest.raises(Killed):
            await live(make(InProcess(world, after=fault)))
        assert knows(world, make(InProcess(world)).show())
    await live(make(InProcess(world)))
    record = make(InProcess(world)).show()
    assert record.confirmed
    assert knows(world, record)


async def test_a_device_that_never_heard_of_its_initialisation_onboards_with_what_it_has(make: Maker) -> None:
    world = World()
    with pytest.raises(Killed):
        await live(make(InProcess(world, after=kill_at(12))))
    device = make(InProcess(world))
    assert device.show().state == "initialising"
    assert (await device.onboard()).confirmed


async def test_a_second_initialisation_after_a_kill_keeps_the_key(make: Maker) -> None:
    world = World()
    with pytest.raises(Killed):
        await live(make(InProcess(world, after=kill_at(12))))
    device = make(InProcess(world))
    before = device.show()
    after = await device.initialise(MAKER_URL, REQUEST)
    assert after.private_key == before.private_key
    assert (after.state, after.confirmed) == ("initialised", True)
    assert after.guid != before.guid


async def test_killed_before_the_owner_has_decided_it_goes_on_with_the_old_credential(make: Maker) -> None:
    world = World()
    with pytest.raises(Killed):
        await live(make(InProcess(world, before=kill_at(70))))
    record = make(InProcess(world)).show()
    assert (record.state, len(record.candidates)) == ("finishing", 2)
    (guid,) = world.vouchers
    done = await make(InProcess(world)).onboard()
    assert done.old_guid == guid.hex()
    assert done.confirmed


async def test_after_a_settlement_without_proof_both_credentials_still_work(make: Maker) -> None:
    world = World(serves_again=False)
    with pytest.raises(Killed):
        await live(make(InProcess(world, after=kill_at(70))))
    assert not (await make(InProcess(world)).onboard()).confirmed
    assert len(make(InProcess(world)).show().candidates) == 2
    # The owner sells the device to itself: the device is wanted again.
    (voucher,) = world.vouchers.values()
    world.adopt(kit.sell(voucher, world.owner, world.owner))
    again = await make(InProcess(world)).onboard(again=True)
    assert again.confirmed
    assert again.old_guid == voucher.guid.hex()


async def test_a_lost_last_word_is_asked_for_again(make: Maker) -> None:
    world = World(keeps_last_word=True)
    done = await onboard_with(make, InProcess(world, after=lose(70)))
    assert done.confirmed
    assert (done.rounds, len(world.commits), world.numbers.count(70)) == (1, 1, 2)


@pytest.mark.parametrize("serves_again", [True, False])
async def test_a_last_word_that_stays_lost_costs_another_round(make: Maker, serves_again: bool) -> None:
    world = World(serves_again=serves_again)
    done = await onboard_with(make, InProcess(world, after=lose(70, 3)))
    assert done.confirmed == serves_again
    assert len(world.commits) == (2 if serves_again else 1)
    assert bytes.fromhex(done.guid) == world.commits[-1][1]
    # An owner without more to say refuses the new credential's voucher, which shows that it has it.
    assert done.rounds == 2


async def test_an_owner_that_says_no_more_than_no_is_asked_a_few_times(make: Maker) -> None:
    world = World(serves_again=False)
    transport = InProcess(world)

    async def forget(given: int) -> None:
        if given == 70:
            world.vouchers.clear()
            raise TransportError("the connection was lost")

    transport.after = forget
    done = await onboard_with(make, transport)
    assert (done.confirmed, done.rounds) == (False, 1 + SETTLING_ROUNDS)


async def test_an_owner_that_cannot_store_is_asked_again(make: Maker) -> None:
    world = World(steps=steps)
    left = [2]

    async def full(given: int) -> None:
        if given == 70 and left[0]:
            left[0] -= 1
            raise PeerError(500, 70, "the owner cannot store anything at the moment")

    done = await onboard_with(make, InProcess(world, before=full))
    assert (done.confirmed, done.rounds, len(world.conversations)) == (True, 1, 1)


async def onboard_with(make: Maker, transport: InProcess):
    device = make(transport)
    await device.initialise(MAKER_URL, REQUEST)
    return await device.onboard()


@pytest.mark.parametrize("number", [32, 62, 64, 66, 68, 70])
async def test_an_owner_that_restarts_in_between_costs_another_round(make: Maker, number: int) -> None:
    world = World(steps=steps)
    left = [1]

    async def restart(given: int) -> None:
        if given == number and left:
            left.pop()
            world.forget_sessions()

    done = await onboard_with(make, InProcess(world, before=restart))
    assert (done.confirmed, done.rounds) == (True, 2)
    assert len(world.commits) == 1


async def test_an_owner_out_of_reach_is_waited_for_and_nothing_is_settled(make: Maker) -> None:
    world = World(serves_again=False)
    with pytest.raises(Killed):
        await live(make(InProcess(world, after=kill_at(70))))
    transport = InProcess(world)
    transport.unreachable = {OWNER_URL, RENDEZVOUS_URL}
    with pytest.raises(OnboardingError, match="cannot be reached"):
        await make(transport).onboard()
    assert make(transport).show().state == "finishing"


async def test_two_processes_do_not_work_with_one_device(make: Maker) -> None:
    world = World()
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def hold(number: int) -> None:
        if number == 60:
            reached.set()
            await go_on.wait()

    device = make(InProcess(world, before=hold))
    await device.initialise(MAKER_URL, REQUEST)
    task = asyncio.create_task(device.onboard())
    await reached.wait()
    with pytest.raises(BusyError):
        await make(InProcess(world)).onboard()
    go_on.set()
    assert (await task).confirmed


# Fleets.


async def test_a_fleet_comes_ashore_and_goes_on_where_it_was_stopped(tmp_path: Path, fetcher: Fetcher) -> None:
    world = World(steps=steps)
    settings = Settings(options=QUICK)
    names = serials("edge", 12)
    fleet = Fleet(tmp_path / "devices", InProcess(world), fetcher, settings=settings, concurrency=4)
    first = await fleet.run(names[:5], MAKER_URL, onboard=False)
    assert first.count("initialised") == 5
    summary = await fleet.run(names, MAKER_URL)
    assert [member.serial for member in summary.members] == names
    assert summary.count("onboarded") == len(world.commits) == 12
    assert (tmp_path / "devices" / "edge-0007" / "files" / "serial.txt").read_text() == "edge-0007\n"
    again = await fleet.run(names, MAKER_URL)
    assert again.count("onboarded") == len(world.commits) == 12


async def test_a_failure_of_one_device_does_not_stop_the_fleet(tmp_path: Path, fetcher: Fetcher) -> None:
    world = World()
    fleet = Fleet(tmp_path, InProcess(world), fetcher, settings=Settings(options=QUICK))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "credential.json").write_text("{")
    (tmp_path / "b" / "credential.json").chmod(0o600)
    summary = await fleet.run(["a", "b", "../c"], MAKER_URL)
    assert [member.state for member in summary.members] == ["onboarded", "failed", "failed"]
    assert "not a device credential" in summary.members[1].error


async def test_a_device_that_fails_is_named_by_the_guid_that_its_owner_knows(tmp_path: Path, fetcher: Fetcher) -> None:
    settings = Settings(options=QUICK)
    made = await Fleet(tmp_path, InProcess(World()), fetcher, settings=settings).run(["a"], MAKER_URL, onboard=False)
    failed = await Fleet(tmp_path, InProcess(World()), fetcher, settings=settings).run(["a"], MAKER_URL)
    assert (failed.members[0].state, failed.members[0].guid) == ("failed", made.members[0].guid)
    assert failed.members[0].guid


async def test_progress_names_messages_device_and_steps(make: Maker) -> None:
    events: list[Progress] = []
    device = make(InProcess(World(steps=steps)), report=events.append)
    await device.initialise(MAKER_URL, REQUEST)
    await device.onboard()
    messages = [(event.message, event.answer) for event in events if event.kind == "message"]
    assert messages[:7] == [(10, 11), (12, 13), (30, 31), (32, 33), (60, 61), (62, 63), (64, 65)]
    assert messages[-1] == (70, 71)
    assert {event.serial for event in events} == {"S-1"}
    assert any("the owner uses fdo_sys" in event.text for event in events)
    assert hashlib.sha256(device.show().private_key).hexdigest() not in str(events)
