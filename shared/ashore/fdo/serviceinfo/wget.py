"""fdo.wget: the device fetches a file from a URL by itself.

Owner: sha-384 (bytes, optional), name (text), length (uint, optional), url (text), which begins the work. Device:
done (uint, the length) or error (text).
"""

from typing import ClassVar, Final

from ashore.fdo.serviceinfo import ServiceInfoError, StepFailedError, values
from ashore.fdo.serviceinfo.host import Fetched, Host, HostError, Transfer
from ashore.fdo.serviceinfo.modules import LONG, DeviceModule, Outlet, OwnerModule

MODULE: Final = "fdo.wget"
DEFAULT_LIMIT: Final = 1 << 30
_MAX_ERROR: Final = 200


class Wget(OwnerModule):
    """Let the device fetch `url` and store it as `name`, with this SHA-384 and length where they are given.

    The length is compared here and not sent: the Go client ends the onboarding at fdo.wget:length.
    """

    module: ClassVar[str] = MODULE

    def __init__(
        self,
        url: str,
        name: str,
        *,
        sha384: bytes | None = None,
        length: int | None = None,
        optional: bool = False,
        may_fail: bool = False,
        patience: int = LONG,
    ) -> None:
        super().__init__(f"wget {name}", optional=optional, may_fail=may_fail, patience=patience)
        self.outcome.file_name = name
        self._url = url
        self._name = name
        self._sha384 = sha384
        self._length = length
        self._asked = False

    def produce(self, out: Outlet) -> None:
        """Ask once."""
        if self._asked:
            return
        if self._sha384 is not None:
            out.put("sha-384", self._sha384)
        out.put("name", self._name)
        out.put("url", self._url)
        self._asked = True

    def receive(self, message: str, value: object) -> None:
        """Take the result."""
        if message == "error":
            self.fail(f"the device could not fetch {self._name}: {values.text(value, 'fdo.wget:error')}")
        elif message == "done":
            length = values.integer(value, "fdo.wget:done", 0)
            if self._length is not None and length != self._length:
                self.fail(f"the device fetched {length} of {self._length} bytes of {self._name}")
            else:
                self.succeed()


class WgetDevice(DeviceModule):
    """Fetch files of at most `limit` bytes, each under a working name until its hash is known to be right.

    `patience`: seconds that one message may be held back while a file is under way.
    """

    name: ClassVar[str] = MODULE

    def __init__(self, host: Host, *, limit: int = DEFAULT_LIMIT, patience: float = 5.0) -> None:
        self._host = host
        self._limit = limit
        self._patience = patience
        self._transfer: Transfer | None = None
        self._forget()

    def _forget(self) -> None:
        self._target = ""
        self._error = ""
        self._expected = b""
        self._length: int | None = None
        self._transfer = None

    async def receive(self, message: str, value: object, out: Outlet) -> None:
        """Take a part of the order; the URL begins it."""
        match message:
            case "sha-384":
                self._expected = values.digest(value, "fdo.wget:sha-384")
            case "name":
                self._take_name(value)
            case "length":
                self._length = values.integer(value, "fdo.wget:length", 0)
            case "url":
                await self._begin(values.text(value, "fdo.wget:url"), out)
            case _:
                raise StepFailedError(f"fdo.wget:{message} is not known here")

    async def proceed(self, out: Outlet) -> None:
        """Report the end of the transfer, if it comes soon."""
        if self._transfer is None:
            return
        try:
            fetched = await self._transfer.wait(self._patience)
            if fetched is None:
                return
            self._check(fetched)
            await self._host.rename(self._part, self._target)
        except HostError as error:
            await self._host.remove(self._part)
            self._report(str(error), out)
        else:
            out.put("done", fetched.length)
            self._forget()

    async def reset(self) -> None:
        """Give up what is under way."""
        if self._transfer is not None:
            await self._transfer.cancel()
            await self._host.remove(self._part)
        self._forget()

    def _take_name(self, value: object) -> None:
        if self._transfer is not None:
            raise StepFailedError(f"fdo.wget:name came while {self._target} is under way")
        try:
            self._target, self._error = values.name(value, "fdo.wget:name"), ""
        except ServiceInfoError as error:
            self._target, self._error = "", error.reason

    async def _begin(self, url: str, out: Outlet) -> None:
        if self._transfer is not None:
            raise StepFailedError(f"fdo.wget was asked for a file while {self._target} is under way")
        if not self._target:
            self._report(self._error or "fdo.wget:url came before fdo.wget:name", out)
            return
        try:
            self._transfer = await self._host.fetch_url(url, self._part, limit=self._limit)
        except HostError as error:
            self._report(str(error), out)

    def _report(self, error: str, out: Outlet) -> None:
        out.put("error", error[:_MAX_ERROR])
        self._forget()

    def _check(self, fetched: Fetched) -> None:
        if self._expected not in (b"", fetched.sha384):
            raise HostError("the hash is wrong")
        if self._length is not None and fetched.length != self._length:
            raise HostError(f"{fetched.length} bytes came, {self._length} were expected")

    @property
    def _part(self) -> str:
        return f"{self._target}.part"
