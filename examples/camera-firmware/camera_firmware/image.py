"""The image: a file, or fetched once from a URL in allowed networks, and checked against its hash before it is used."""

import hashlib
import os
import socket
import ssl
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from camera_firmware import settings, web
from camera_firmware.outcomes import EndedError, Exit
from camera_firmware.web import Place

_BLOCK: Final = 64 * 1024


@dataclass(frozen=True)
class Image:
    """An open file that has the right hash; whoever replaces the path later changes nothing here."""

    file: BinaryIO
    size: int
    each: Callable[[], None] = lambda: None
    """Called for each block."""

    def blocks(self) -> Iterator[bytes]:
        """All of it, from the beginning."""
        self.file.seek(0)
        while block := self.file.read(_BLOCK):
            self.each()
            yield block


@contextmanager
def opened(wanted: settings.Image, seconds: float) -> Iterator[Image]:
    """The image; raise EndedError where it is not there, too large, or another."""
    place = web.place(wanted.where)
    with _fetched(wanted, place, seconds) if place else _file(wanted) as file:
        found = Image(file, os.fstat(file.fileno()).st_size)
        digest = hashlib.sha256()
        for block in found.blocks():
            digest.update(block)
        if digest.hexdigest() != wanted.sha256:
            why = f"the image at {wanted.where} has the hash {digest.hexdigest()}, and {wanted.sha256} is wanted"
            raise EndedError(Exit.CHECKSUM, why)
        yield found


def _file(wanted: settings.Image) -> BinaryIO:
    try:
        # A FIFO would keep us waiting for its writer.
        file = open(os.open(wanted.where, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")  # noqa: PTH123, SIM115
    except OSError as error:
        raise EndedError(Exit.IMAGE, f"the image cannot be opened: {error}") from error
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode) or not 0 < found.st_size <= wanted.limit:
        file.close()
        why = f"the image {wanted.where} is no file, is empty, or has more than {wanted.limit} bytes"
        raise EndedError(Exit.IMAGE, why)
    return file


@contextmanager
def _fetched(wanted: settings.Image, place: Place, seconds: float) -> Iterator[BinaryIO]:
    address = _address(wanted, place)
    with tempfile.TemporaryFile() as file:
        try:
            # A name is looked up once, so that it cannot mean one machine to the check and another to the connection.
            with web.opened(place, web.Request(method="GET"), seconds, _tls(wanted, place), address=address) as answer:
                if answer.status != 200:  # noqa: PLR2004
                    raise EndedError(Exit.IMAGE, f"{wanted.where} answers {answer.status}; redirects are not followed")
                _save(web.blocks(answer, wanted.limit), file)
        except (web.NotThereError, web.LostError, web.BadAnswerError) as error:
            raise EndedError(Exit.IMAGE, f"the image cannot be fetched: {error}") from error
        yield file


def _save(blocks: Iterable[bytes], file: BinaryIO) -> None:
    for block in blocks:
        try:
            file.write(block)
        except OSError as error:
            raise EndedError(Exit.IMAGE, f"the image does not fit into {tempfile.gettempdir()}: {error}") from error
    file.flush()


def _address(wanted: settings.Image, place: Place) -> str:
    try:
        found = socket.getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise EndedError(Exit.IMAGE, f"nobody knows where {place.host} is: {error}") from error
    for *_, where in found:
        address = str(where[0]).partition("%")[0]
        if web.allows(wanted.networks, address):
            return address
    raise EndedError(Exit.IMAGE, f"{place.host} is not in FIRMWARE_IMAGE_NETWORKS")


def _tls(wanted: settings.Image, place: Place) -> ssl.SSLContext | None:
    if not place.tls:
        return None
    try:
        return ssl.create_default_context(cafile=wanted.ca_file or None)
    except OSError as error:
        raise EndedError(Exit.IMAGE, f"FIRMWARE_IMAGE_CA_FILE cannot be used: {error}") from error
