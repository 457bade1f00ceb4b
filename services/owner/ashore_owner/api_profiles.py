"""The owner's management API: profiles, the rules that choose them, and the files that they send."""

import time

from ashore.http.problems import Problem
from ashore.http.routes import LARGEST_BODY, Request, Route
from ashore_owner.catalogue import PROFILE, RESOURCE, Catalogue
from ashore_owner.documents import Documents
from ashore_owner.profiles import LONGEST_NAME, Profile, Rule


class ProfilesApi:
    """The operations; `routes` lists them."""

    def __init__(self, documents: Documents, catalogue: Catalogue) -> None:
        self._documents = documents
        self._catalogue = catalogue

    def routes(self) -> list[Route]:
        """Every operation on profiles, rules and resources."""
        path, tags = "/api/v1/profiles", ("profiles",)
        one, rules, resource = path + "/{name}", "/api/v1/rules", "/api/v1/resources/{name}"
        return [
            Route("GET", path, self._profiles, "List profiles", "read", response=list[str], tags=tags),
            Route("GET", one, self._profile, "Show a profile", "read", response=Profile, tags=tags),
            Route(
                "PUT", one, self._put_profile, "Keep a profile", "write", request=Profile, response=Profile, tags=tags
            ),
            Route("DELETE", one, self._remove_profile, "Forget a profile", "write", status=204, tags=tags),
            Route("GET", rules, self._rules, "The rules in their order", "read", response=list[Rule], tags=tags),
            Route(
                "PUT",
                rules,
                self._put_rules,
                "Replace the rules",
                "write",
                request=list[Rule],
                response=list[Rule],
                tags=tags,
            ),
            Route("GET", "/api/v1/resources", self._resources, "List resources", "read", response=list[str], tags=tags),
            Route(
                "PUT",
                resource,
                self._put_resource,
                "Keep a file that profiles send",
                "write",
                request=bytes,
                status=204,
                tags=tags,
                body_limit=LARGEST_BODY,
            ),
            Route("DELETE", resource, self._remove_resource, "Forget a resource", "write", status=204, tags=tags),
        ]

    async def _profiles(self, _request: Request) -> list[str]:
        return await self._documents.names(PROFILE)

    async def _profile(self, request: Request) -> Profile:
        name = request.path_params["name"]
        profile = await self._catalogue.profile(name)
        if profile is None:
            raise no_profile(name)
        return profile

    async def _put_profile(self, request: Request) -> Profile:
        profile = request.payload(Profile)
        if profile.name != request.path_params["name"]:
            raise Problem(400, f"the profile is called {profile.name!r}, the address says otherwise")
        await self._catalogue.put_profile(profile, _now())
        return profile

    async def _remove_profile(self, request: Request) -> None:
        name = request.path_params["name"]
        used = [rule for rule in await self._catalogue.rules() if rule.profile == name]
        if used:
            raise Problem(409, f"a rule chooses profile {name!r}", remedy="Change the rules first: PUT /api/v1/rules.")
        if not await self._catalogue.remove_profile(name):
            raise no_profile(name)

    async def _rules(self, _request: Request) -> list[Rule]:
        return await self._catalogue.rules()

    async def _put_rules(self, request: Request) -> list[Rule]:
        rules = request.payload(list)
        for rule in rules:
            if await self._catalogue.profile(rule.profile) is None:
                raise no_profile(rule.profile)
        await self._catalogue.put_rules(rules, _now())
        return rules

    async def _resources(self, _request: Request) -> list[str]:
        return await self._documents.names(RESOURCE)

    async def _put_resource(self, request: Request) -> None:
        name = request.path_params["name"]
        if len(name) > LONGEST_NAME or not name.isprintable():
            remedy = f"give it a name of at most {LONGEST_NAME} letters, digits and signs"
            raise Problem(422, "no step could name this resource", remedy=remedy)
        await self._documents.put(RESOURCE, name, request.payload(bytes), _now())

    async def _remove_resource(self, request: Request) -> None:
        name = request.path_params["name"]
        if not name.isprintable() or not await self._documents.remove(RESOURCE, name):
            raise Problem(404, f"there is no resource {name!r}", remedy="List them: `ashore profile resource list`.")


def no_profile(name: str) -> Problem:
    """The answer for a name that nothing has."""
    return Problem(404, f"there is no profile {name!r}", remedy="List them: `ashore profile list`.")


def _now() -> int:
    return int(time.time() * 1000)
