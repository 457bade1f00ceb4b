"""The tree of commands: nouns first, then verbs. Each noun is a module that is imported when it is used."""

import importlib.metadata
from typing import Final

from cyclopts import App, Group, Parameter

_START: Final = Group("Start here", sort_key=0)
_THINGS: Final = Group("Things", sort_key=1)
_LOOK: Final = Group("Look", sort_key=2)
_FLAGS: Final = Group("Flags", sort_key=3)

_COMMANDS: Final = (
    ("demo", _START, "Start everything here and bring a virtual device ashore."),
    ("init", _START, "Make keys, tokens and users in a data folder."),
    ("up", _START, "Run everything on this machine."),
    ("voucher", _THINGS, "Ownership vouchers, at the manufacturer and in files."),
    ("device", _THINGS, "Virtual devices on this machine."),
    ("owner", _THINGS, "The owner's devices, and who waits."),
    ("profile", _THINGS, "What devices get, and the rules that choose it."),
    ("rendezvous", _THINGS, "Registrations, and who may register."),
    ("discovery", _THINGS, "What the agents of edge nodes see."),
    ("configuration", _THINGS, "What to look for, and what to start for it."),
    ("instance", _THINGS, "Devices that a configuration wants."),
    ("workload", _THINGS, "What runs for instances."),
    ("streams", _THINGS, "The streams of the bus."),
    ("events", _LOOK, "What happens, and what has happened."),
    ("doctor", _LOOK, "Ask everything how it is, and what to do."),
)
_MORE: Final = {
    # The root shows these modules without importing them, so what their `--help` says stands here.
    "demo": "The device is initialised at the manufacturer, sold to the owner, registered at the rendezvous and "
    "onboarded; its timeline is shown as the events come. Then everything keeps running until Ctrl-C. Each run brings "
    "one more device ashore.",
    "init": "What is there already stays as it is. `ashore up` does it by itself; containers need it once.",
    "up": "NATS and all services run until Ctrl-C; what dies is started again. Keys and tokens are made at the first "
    "start, and what was stored is there again at the next one.",
    "events": "One line for each event: the time, the device, what happened. In JSON each line is a CloudEvent.",
    "doctor": "Services, bus, clocks, certificates and disk: each line says `ok`, or what to do. Exit codes: 0 all is "
    "well, 1 something is not, 3 something cannot be reached.",
}


def _default(value: object) -> str | None:
    """What `--help` says of a default: nothing where that says nothing."""
    return None if value is None or value is False or value in ("", ()) else str(value)


_CODES: Final = "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 unreachable."
_SHOWS_NOTHING: Final = ("demo", "init", "up")

app = App(
    name="ashore",
    help="Bring devices ashore: from the factory through secure onboarding (FDO) to a running workload.",
    help_epilogue="Output is a table on a terminal and JSON in a pipe; -o chooses.\n\n" + _CODES,
    # Markdown would cost a tenth of a second at each `--help`.
    help_format="plaintext",
    default_parameter=Parameter(negative=(), show_default=_default),
    # Wrong usage is told as every other error is.
    print_error=False,
    exit_on_error=False,
    version=lambda: importlib.metadata.version("ashore-cli"),
)
for _name, _group, _help in _COMMANDS:
    _text = f"{_help}\n\n{_MORE[_name]}" if _name in _MORE else _help
    _attribute = _name if _name in _MORE else "app"
    _told = {"help_epilogue": _CODES} if _name in _SHOWS_NOTHING else {}
    app.command(f"ashore_cli.commands.{_name}:{_attribute}", name=_name, help=_text, group=_group, **_told)
for _flag in ("--help", "--version"):
    app[_flag].group = _FLAGS
