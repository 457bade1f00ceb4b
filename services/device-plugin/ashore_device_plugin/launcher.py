"""The broker launcher, which decides who has which slot: asked on the bus."""

from typing import Any, Final, TypeVar

import msgspec

from ashore.bus import Bus, BusError, NoResponder
from ashore.slots import (
    CLAIM,
    RELEASE,
    USAGE,
    ClaimAnswer,
    Held,
    Release,
    ReleaseAnswer,
    UsageAnswer,
    UsageQuestion,
    subject,
)
from ashore.slots import Claim as Wanted
from ashore_device_plugin.claims import Claim
from ashore_device_plugin.instances import Key

SECONDS: Final = 3.0
T = TypeVar("T")


class LauncherAwayError(Exception):
    """The launcher does not answer; the text says why. Whether it has done what was asked nobody knows."""


class RefusedError(Exception):
    """The launcher does not grant it; the text says why, and who has it."""


class Launcher:
    """Asks the launcher."""

    def __init__(self, bus: Bus, site: str, node: str) -> None:
        self._bus = bus
        self._site = site
        self._node = node

    async def claim(self, claim: Claim) -> None:
        """Have it granted; raise RefusedError or LauncherAwayError."""
        wanted = Wanted(
            namespace=claim.namespace, instance=claim.instance, node=self._node, slot=claim.slot, holder=claim.holder
        )
        answer = await self._ask(CLAIM, wanted, ClaimAnswer)
        if not answer.granted:
            raise RefusedError(answer.problem or "the broker launcher says no")

    async def release(self, key: Key, slots: list[int]) -> None:
        """Give slots back; raise LauncherAwayError."""
        namespace, instance = key
        asked = Release(namespace=namespace, instance=instance, node=self._node, slots=slots)
        answer = await self._ask(RELEASE, asked, ReleaseAnswer)
        if answer.problem:
            raise LauncherAwayError(answer.problem)

    async def usage(self) -> list[Held]:
        """What it believes this node has; raise LauncherAwayError."""
        answer = await self._ask(USAGE, UsageQuestion(node=self._node), UsageAnswer)
        if answer.problem:
            raise LauncherAwayError(answer.problem)
        return answer.slots

    async def _ask(self, verb: str, question: Any, kind: type[T]) -> T:
        try:
            body = await self._bus.request(subject(verb, self._site), msgspec.json.encode(question), timeout=SECONDS)
            return msgspec.json.decode(body, type=kind)
        except NoResponder as error:
            raise LauncherAwayError("no broker launcher answers: start it, or wait until it leads") from error
        except BusError as error:
            raise LauncherAwayError(f"the broker launcher cannot be asked: {error}") from error
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            raise LauncherAwayError(f"the broker launcher's answer cannot be read: {error}") from error
