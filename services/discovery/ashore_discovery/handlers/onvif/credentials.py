"""Whose user and password: Akri's keys of `discoveryProperties`, with references instead of secrets. Pure.

| key | what it holds |
|---|---|
| `username_UUID`, `password_UUID` | for one device; `-` is written `_` |
| `username_default`, `password_default` | for whoever has none of its own |
| `device_credential_list` | a JSON list of keys; each holds `{UUID: {username, password, base64encoded}}` |
| `device_credential_ref_list` | the same with `username_ref` and `password_ref`: keys again |

For one device the later source wins, in the order list, reference list, keys of its own, as in Akri.
"""

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from typing import Final, TypeVar

import msgspec

LIST: Final = "device_credential_list"
REFERENCE_LIST: Final = "device_credential_ref_list"
DEFAULT: Final = "default"
_REFERENCES: Final = ("file:", "env:")
_USER: Final = "username_"
_PASSWORD: Final = "password_"  # noqa: S105 - the name of a key


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a device knows."""

    username: str
    password: str = ""

    def __repr__(self) -> str:
        return f"Credential({self.username!r})"


class _Data(msgspec.Struct):
    username: str
    password: str | None = None
    base64encoded: bool = False


class _References(msgspec.Struct):
    username_ref: str
    password_ref: str | None = None


Store = dict[str, Credential]
Data = TypeVar("Data")


def problems(properties: Mapping[str, str]) -> Iterator[str]:
    """What is wrong with the keys, a sentence each."""
    for key in (LIST, REFERENCE_LIST):
        names = _names(properties, key)
        if names is None:
            yield f"{key} is no JSON list of names"
        for name in names or ():
            if name not in properties:
                yield f"{key} names '{name[:64]}', which is not among the properties"
    secret = {name for name in properties if name.startswith(_PASSWORD)} | set(_names(properties, LIST) or ())
    for name in sorted(secret & set(properties)):
        if not properties[name].startswith(_REFERENCES):
            yield f"'{name[:64]}' holds a secret: write where it is, as file:NAME or env:NAME"
    yield from _without_user(properties)


def read(properties: Mapping[str, str], secret: Callable[[str], str], complain: Callable[[str], None]) -> Store:
    """All credentials by UUID; what cannot be read is told and left out."""

    def value(name: str) -> str | None:
        written = properties.get(name)
        if written is None or not written.startswith(_REFERENCES):
            return written
        try:
            return secret(written)
        except Exception as error:  # noqa: BLE001 - a missing secret is one device's trouble, and told
            complain(str(error))
            return None

    found: Store = {}
    for name in _names(properties, LIST) or ():
        found.update(_listed(value(name), name, complain))
    for name in _names(properties, REFERENCE_LIST) or ():
        found.update(_referred(value(name), name, value, complain))
    for key in properties:
        uuid = key.removeprefix(_USER)
        username = value(key) if uuid not in (key, "") else None
        if username is not None:
            found[_plain(uuid)] = Credential(username=username, password=value(_PASSWORD + uuid) or "")
    return found


def candidates(stores: list[Store], uuid: str) -> list[Credential]:
    """What may be tried with a device, the best first: its own, otherwise the defaults."""
    for name in (_plain(uuid), DEFAULT):
        found = [store[name] for store in stores if name in store]
        if found:
            return list(dict.fromkeys(found))
    return []


def _without_user(properties: Mapping[str, str]) -> Iterator[str]:
    if properties.get(REFERENCE_LIST):
        # What its lists name may be called as they like.
        return
    for name in properties:
        user = name.removeprefix(_PASSWORD)
        if user != name and _USER + user not in properties:
            yield f"'{name[:64]}' has no '{_USER}{user[:64]}' beside it"


def _listed(text: str | None, name: str, complain: Callable[[str], None]) -> Store:
    found: Store = {}
    for uuid, data in _decoded(text, dict[str, _Data], name, complain).items():
        password = data.password or ""
        try:
            if data.base64encoded:
                password = base64.b64decode(password, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            complain(f"in '{name}' the password of {uuid[:64]} is no base64")
            continue
        found[_plain(uuid)] = Credential(username=data.username, password=password)
    return found


def _referred(
    text: str | None, name: str, value: Callable[[str], str | None], complain: Callable[[str], None]
) -> Store:
    found: Store = {}
    for uuid, data in _decoded(text, dict[str, _References], name, complain).items():
        username = value(data.username_ref)
        if username:
            password = value(data.password_ref) if data.password_ref else None
            found[_plain(uuid)] = Credential(username=username, password=password or "")
        else:
            complain(f"in '{name}' the user of {uuid[:64]} is not there")
    return found


def _decoded(
    text: str | None, kind: type[dict[str, Data]], name: str, complain: Callable[[str], None]
) -> dict[str, Data]:
    try:
        return msgspec.json.decode(text, type=kind) if text is not None else {}
    except (msgspec.MsgspecError, ValueError) as error:
        # msgspec's own words name the place and never the value.
        complain(f"'{name}' is no list of credentials: {error}")
        return {}


def _names(properties: Mapping[str, str], key: str) -> list[str] | None:
    try:
        return msgspec.json.decode(properties.get(key, "[]"), type=list[str])
    except (msgspec.MsgspecError, ValueError):
        return None


def _plain(uuid: str) -> str:
    return uuid.strip().lower().removeprefix("urn:").removeprefix("uuid:").replace("_", "-")
