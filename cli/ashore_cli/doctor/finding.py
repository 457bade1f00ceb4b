"""What an examination finds."""

import msgspec


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing, well or not; `remedy` is what to do."""

    about: str
    ok: bool
    text: str
    remedy: str = ""
    unreachable: bool = False


def well(about: str, text: str) -> Finding:
    """A thing that is as it should be."""
    return Finding(about=about, ok=True, text=text)


def bad(about: str, text: str, remedy: str, *, unreachable: bool = False) -> Finding:
    """A thing that is not."""
    return Finding(about=about, ok=False, text=text, remedy=remedy, unreachable=unreachable)
