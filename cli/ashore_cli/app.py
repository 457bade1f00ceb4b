"""The tree of commands: nouns first, then verbs. Each noun is a module that is imported when it is used."""

import importlib.metadata
from typing import Final

from cyclopts import App, Group

_START: Final = Group("Start here", sort_key=0)
_THINGS: Final = Group("Things", sort_key=1)
_LOOK: Final = Group("Look", sort_key=2)

_COMMANDS: Final = (
    ("demo", _START, "Start everything here and bring a virtual device ashore."),
    ("init", _START, "Make keys, tokens and users in a data folder."),
    ("up", _START, "Run everything on this machine."),
    ("voucher", _THINGS, "Ownership vouchers, at the manufacturer and in files."),
    ("device", _THINGS, "Virtual devices on this machine."),
    ("owner", _THINGS, "The owner's devices, and who waits."),
    ("profile", _THINGS, "What devices get, and the rules that choose it."),
    ("rendezvous", _THINGS, "Registrations, and who may register."),
    ("streams", _THINGS, "The streams of the bus."),
    ("events", _LOOK, "What happens, and what has happened."),
    ("doctor", _LOOK, "Ask everything how it is, and what to do."),
)
_FUNCTIONS: Final = ("demo", "init", "up", "events", "doctor")

app = App(
    name="ashore",
    help="Bring devices ashore: from the factory through secure onboarding (FDO) to a running workload.",
    help_epilogue="Output is a table on a terminal and JSON in a pipe; -o chooses.\n\n"
    "Exit codes: 0 done, 1 refused, 2 wrong usage, 3 unreachable.",
    version=lambda: importlib.metadata.version("ashore-cli"),
)
for _name, _group, _help in _COMMANDS:
    _attribute = _name if _name in _FUNCTIONS else "app"
    app.command(f"ashore_cli.commands.{_name}:{_attribute}", name=_name, help=_help, group=_group)
