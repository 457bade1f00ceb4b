"""`ashore init` at work."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from ashore_cli.local.hints import command
from ashore_cli.output import console
from ashore_cli.stack import Layout
from ashore_cli.stack.prepare import prepare
from ashore_cli.stack.prepare import separate as separated

_CONTENTS: Final = (
    ("keys/", "private keys of owner and manufacturer"),
    ("nats/nkeys/", "keys of the users of the bus"),
    ("tls/", "the authority and the servers' certificates, with their private keys"),
    ("admin-token", "opens the management APIs"),
    ("ca.pem", "public: what clients that speak TLS must trust"),
    ("owner-keys.pem", "public: give it to those who sell devices to you"),
    ("manufacturer-keys.pem", "public: give it to rendezvous services that shall admit your devices"),
)


def make(data: Path, separate: Path | None, hosts: Sequence[str] = ()) -> None:
    """Make what is missing, and say what there is."""
    out, layout = console(), Layout(data.resolve())
    is_new, before = not layout.keys.exists(), _certificates(layout)
    with console(stderr=True).status("making keys") as status:

        def told(what: str) -> None:
            status.update(f"making {what}")

        prepare(layout, told, hosts)
        folders = separated(layout, separate.resolve()) if separate else []
    anew = not is_new and _certificates(layout) != before
    words = f"Made {layout.path}, which only you can read:" if is_new else f"{layout.path} is complete already:"
    out.print(f"{layout.path} has certificates anew, which services and NATS read when they start:" if anew else words)
    for name, text in _CONTENTS:
        out.print(f"  {name:<22}  {text}")
    if folders:
        out.print("For containers, each the /data of its service, and public/ for all of them:")
        for folder in folders:
            out.print(f"  {folder}")
    out.print(f"\nNext: {command('up', data)}")


def _certificates(layout: Layout) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in layout.path.glob("tls/*.pem")}
