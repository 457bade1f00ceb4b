"""Which profile a device gets, and its steps ready to run.

Profiles and rules are read often and changed seldom: they are kept in memory for a few seconds, so that a change made
through another replica is seen soon. Resources are read when a device needs them, and what a URL names is fetched then.
"""

import time
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from ashore.fdo.serviceinfo import StepFailedError
from ashore.fdo.serviceinfo.modules import OwnerModule
from ashore_owner.documents import Documents
from ashore_owner.downloads import Downloads
from ashore_owner.profiles import HELLO, Facts, Profile, Rule, Sources, choose, decode_profile, modules, resources

PROFILE: Final = "profile"
RULES: Final = "rules"
RESOURCE: Final = "resource"
KEPT_SECONDS: Final = 2.0


class Choice(NamedTuple):
    """The profile of a device; None where only what it says of itself can decide, or nothing suits."""

    profile: Profile | None

    @property
    def reuse(self) -> bool:
        """Whether the device keeps its credential."""
        return self.profile is not None and self.profile.credential == "reuse"


class Catalogue:
    """Profiles and rules."""

    def __init__(
        self,
        documents: Documents,
        downloads: Downloads | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._documents = documents
        self._downloads = downloads or Downloads()
        self._clock = clock
        self._profiles: dict[str, tuple[float, Profile | None]] = {}
        self._rules: tuple[float, list[Rule]] = (0.0, [])

    async def seed(self, now: int) -> None:
        """Give a new owner service the profile `hello`, for every device."""
        if await self._documents.get(RULES, RULES) is None:
            await self.put_profile(HELLO, now)
            await self.put_rules([Rule(profile=HELLO.name)], now)

    async def choose(self, facts: Facts, by_hand: str | None) -> Choice:
        """The profile chosen by hand, or that of the first rule that matches."""
        name = by_hand or choose(await self.rules(), facts)
        return Choice(await self.profile(name) if name else None)

    async def could_serve(self, facts: Facts, by_hand: str | None) -> bool:
        """Whether there is a profile, or may be one once the device has introduced itself."""
        if by_hand:
            return await self.profile(by_hand) is not None
        rules = await self.rules()
        return choose(rules, facts) is not None or any(rule.devmod for rule in rules)

    async def modules(self, profile: Profile, facts: Facts) -> list[OwnerModule]:
        """The profile's steps for this device; raise StepFailedError where a resource is missing."""
        contents: dict[str, bytes] = {}
        for name in resources(profile):
            content = await self._documents.get(RESOURCE, name)
            if content is None:
                raise StepFailedError(f"profile {profile.name} sends the resource {name!r}, which is not there")
            contents[name] = content
        return modules(profile, facts, Sources(contents, self._downloads.begin))

    async def profile(self, name: str) -> Profile | None:
        """A profile by its name."""
        until, profile = self._profiles.get(name, (0.0, None))
        if until <= self._clock():
            body = await self._documents.get(PROFILE, name)
            profile = None if body is None else decode_profile(body)
            self._profiles[name] = (self._clock() + KEPT_SECONDS, profile)
        return profile

    async def rules(self) -> list[Rule]:
        """The rules in their order."""
        until, rules = self._rules
        if until <= self._clock():
            body = await self._documents.get(RULES, RULES)
            rules = [] if body is None else msgspec.json.decode(body, type=list[Rule])
            self._rules = (self._clock() + KEPT_SECONDS, rules)
        return rules

    async def put_profile(self, profile: Profile, now: int) -> None:
        """Keep a profile."""
        await self._documents.put(PROFILE, profile.name, msgspec.json.encode(profile), now)
        self._profiles.pop(profile.name, None)

    async def put_rules(self, rules: list[Rule], now: int) -> None:
        """Keep the rules in place of those before."""
        await self._documents.put(RULES, RULES, msgspec.json.encode(rules), now)
        self._rules = (0.0, [])

    async def remove_profile(self, name: str) -> bool:
        """Forget a profile."""
        self._profiles.pop(name, None)
        return await self._documents.remove(PROFILE, name)
