"""Whose user and password: files of a mounted Secret, for one camera or for all.

| files | for whom |
|---|---|
| `username_UUID`, `password_UUID` | one camera, by ONVIF_DEVICE_UUID; `-` may be written `_` |
| `username_default`, `password_default` | all others, as the handler's properties name them |
| `username`, `password` | the same, as a Secret of the type kubernetes.io/basic-auth has them |
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_LONGEST: Final = 1024
_UUID: Final = re.compile(r"[0-9A-Za-z-]{1,64}")


@dataclass(frozen=True)
class Credential:
    """Whom the camera knows; its text never shows the password."""

    username: str
    password: str = field(repr=False)


def read(folder: Path, uuid: str) -> Credential | None:
    """What is mounted for this camera, if anything; raise ValueError where a file cannot be used."""
    for suffix in _suffixes(uuid):
        name = folder / f"username{suffix}"
        if name.is_file():
            password = folder / f"password{suffix}"
            if not password.is_file():
                raise ValueError(f"{name} has no {password.name} beside it")
            return Credential(_text(name), _text(password))
    return None


def _suffixes(uuid: str) -> Iterator[str]:
    # It comes from the camera and becomes part of a path.
    if _UUID.fullmatch(uuid):
        plain = uuid.lower()
        yield from ("_" + plain, "_" + plain.replace("-", "_"))
    yield from ("_default", "")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            # An editor ends a file with a line break that is no part of a password.
            text = file.read(_LONGEST + 1).decode().rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        # The error of decoding would show the bytes.
        why = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
        raise ValueError(f"{path} cannot be read: {why}") from None
    if len(text) > _LONGEST:
        raise ValueError(f"{path} is longer than {_LONGEST} characters")
    return text
