"""The demo: a whole stack, one virtual device, its way ashore as the events tell it, and what to try next."""

import asyncio
from pathlib import Path
from typing import Final

from ashore.client import Client, Context
from ashore_cli.errors import CommandError, printable
from ashore_cli.joining import joined
from ashore_cli.local.devices import Virtual, known, next_serials, one_known, request
from ashore_cli.local.discovered import looking, show_discovered
from ashore_cli.local.hints import command, near
from ashore_cli.local.launched import launching, show_launched
from ashore_cli.local.running import hold
from ashore_cli.local.screen import Screen
from ashore_cli.local.timeline import Timeline
from ashore_cli.options import Options
from ashore_cli.output import form, show_data
from ashore_cli.stack import AlreadyRunning, Ports, Stack

PREFIX: Final = "demo"
_OFFSETS: Final = (0, 1000, 2000, 5000, 10_000)
_ADDRESS: Final = "127.0.0.1"
_STEP_SECONDS: Final = 60.0


async def run_demo(data: Path, *, once: bool, tls: bool, port_offset: int | None) -> int:
    """Run the demo; the answer is the exit code."""
    with Screen() as screen:

        def ports() -> Ports:
            return Ports.moved(port_offset) if port_offset is not None else _free_ports(screen)

        stack = Stack(data, ports=ports, address=_ADDRESS, tls=tls, tell=screen.tell)
        screen.out.print(f"ashore demo, with its data in {stack.layout.path}\n")

        async def show() -> None:
            await _bring_and_look(stack.context, screen)
            _what_next(data, screen)
            if not once:
                screen.out.print("\nEverything keeps running until you press Ctrl-C.")
                await asyncio.Event().wait()

        try:
            code = await hold(stack, show)
        except AlreadyRunning:
            screen.out.print("  ashore runs already with this data folder, so the device goes there")
            await _bring_and_look(Context.load({}, data_dir=data), screen)
            _what_next(data, screen)
            return 0
        screen.waiting("")
        screen.out.print("\nStopped. Everything is on disk; the next run goes on from there.")
    return code if once else 0


async def run_device(options: Options, serial: str | None) -> None:
    """One device against services that run already, wherever; programs get what `device show` gives."""
    context, table = options.context(), form(options) == "table"
    there = [one for one in known(context.data_dir / "devices") if one.serial == serial]
    if there and there[0].state != "initialising":
        raise CommandError(
            f"there is a device '{serial}' already; it is {there[0].state}",
            remedy=f"see it: `ashore device show {serial}`; bring it ashore: `ashore device onboard {serial}`",
        )
    with Screen(stderr=not table) as screen:
        name = await bring_ashore(context, screen, serial)
    if not table:
        show_data(one_known(context.data_dir / "devices", name), options)


async def _bring_and_look(context: Context, screen: Screen) -> None:
    """A device that is brought ashore, those that are found, and what is started for them."""
    asked, launched = looking(context), launching(context)
    try:
        await bring_ashore(context, screen)
        await show_discovered(asked, screen)
        await show_launched(launched, screen)
    finally:
        asked.cancel()
        launched.cancel()
        await asyncio.gather(asked, launched, return_exceptions=True)


async def bring_ashore(context: Context, screen: Screen, serial: str | None = None) -> str:
    """DI, sale, registration and onboarding of one new device; the answer is its serial number."""
    if serial is None:
        [serial] = await asyncio.to_thread(next_serials, context.data_dir / "devices", PREFIX, 1)
    screen.out.print(f"\nThe way of the virtual device {serial}\n", style="bold")
    timeline = Timeline(screen, serial)
    async with (
        joined(context) as bus,
        timeline.following(bus, context),
        Virtual.folder(context, report=timeline.device) as virtual,
    ):
        screen.waiting("the device asks the manufacturer for its credential (DI)")
        await virtual.device(serial).initialise(context.services["manufacturer"].url, request(serial))
        screen.waiting("the owner takes the voucher and registers the device at the rendezvous (TO0)")
        await timeline.reached("owner-registered", _STEP_SECONDS)
        screen.waiting("the device looks for its owner (TO1) and is onboarded (TO2)")
        onboarded = await virtual.device(serial).onboard()
        await timeline.reached("device-onboarded", _STEP_SECONDS)
    screen.waiting("")
    await _show_results(context, onboarded.old_guid, virtual.files(serial), screen)
    return serial


async def _show_results(context: Context, guid: str, files: Path, screen: Screen) -> None:
    """What the steps of the profile have left behind."""
    async with Client(context) as client:
        device = await client.owner.device(guid)
    if not device.onboardings:
        raise CommandError(f"the owner has no record of the onboarding of {guid}", remedy="run `ashore doctor`")
    screen.out.print(f"\nWhat profile {device.onboardings[0].profile} did on it:")
    for step in device.onboardings[0].steps:
        screen.out.print(f"  {step.state:<8} {printable(step.description or step.module)}")
        for line in printable(step.stdout).splitlines():
            screen.out.print(f"           {line}", style="dim")
    screen.out.print(f"Its files are in {near(files)}")


def _what_next(data: Path, screen: Screen) -> None:
    hints = (
        ("owner list", "the devices of this owner"),
        ("events --since 1h", "what has happened, event by event"),
        ("device onboard --count 10", "ten more virtual devices"),
        ("profile show hello -o yaml", "what a device gets"),
        ("discovery watch", "devices around this machine, as they come and go"),
        ("instance list", "those that a configuration wants, and `workload manifests` what they get"),
        ("doctor", "how everything is"),
    )
    screen.out.print("\nTry next, in another terminal" if screen.out.is_terminal else "\nTry next", style="bold")
    commands = [(command(words, data), text) for words, text in hints]
    width = max(len(words) for words, _ in commands)
    for words, text in commands:
        screen.out.print(f"  {words:<{width}}   # {text}")


def _free_ports(screen: Screen) -> Ports:
    """The usual ports, or the usual ones moved where other programs have some of them."""
    taken = Ports().taken(_ADDRESS)
    for offset in _OFFSETS:
        if not Ports.moved(offset).taken(_ADDRESS):
            if offset:
                port, name = taken[0][1], taken[0][0]
                screen.out.print(f"  Another program has port {port} ({name}), so all ports are moved by {offset}.")
            return Ports.moved(offset)
    return Ports.free()
