"""Profiles: what a device gets, as an ordered list of steps, and the rules that choose one.

A step names what shall happen; which FSIM does it depends on the modules that the device brings. Variables reach a
script as small files and as its environment, never by pasting text into it: a name with shell characters is safe.
"""

import fnmatch
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from ashore.fdo.serviceinfo.command import RunCommand as CommandModule
from ashore.fdo.serviceinfo.devmod import Devmod
from ashore.fdo.serviceinfo.download import Arrive, DownloadFile, DownloadLater
from ashore.fdo.serviceinfo.fdo_sys import ExecPolled, FetchFile, WriteFile
from ashore.fdo.serviceinfo.modules import OwnerModule
from ashore.fdo.serviceinfo.upload import UploadFile
from ashore.fdo.serviceinfo.wget import Wget

ENVIRONMENT_FILE: Final = "ashore.env"
LONGEST_NAME: Final = 150
"""Characters of the name of a file or a resource."""
_WITH_ENVIRONMENT: Final = 'set -a; . ./ashore.env; set +a; exec "$0" "$@"'

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$", description="Lower-case letters, digits and dashes.")]
Variable = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,62}$")]
FileName = Annotated[
    str,
    Meta(
        min_length=1, max_length=LONGEST_NAME, description="Below the device's working folder; no `..`, no leading `/`."
    ),
]


class Step(msgspec.Struct, kw_only=True, tag_field="step", forbid_unknown_fields=True):
    """What all steps have."""

    optional: Annotated[bool, Meta(description="Skip it where the device has no module for it.")] = False


class WriteFileStep(Step, tag="write_file", kw_only=True):
    """Write a file on the device: `text`, or `content` in base64."""

    name: FileName
    text: str | None = None
    content: bytes | None = None


class RunScriptStep(Step, tag="run_script", kw_only=True):
    """Write a script and run it, with the profile's variables in its environment."""

    text: str
    name: FileName = "script.sh"
    interpreter: str = "/bin/sh"
    may_fail: bool = False


class RunCommandStep(Step, tag="run_command", kw_only=True):
    """Run one command; no shell is involved."""

    arguments: Annotated[list[str], Meta(min_length=1)]
    may_fail: bool = False


class FetchFileStep(Step, tag="fetch_file", kw_only=True):
    """Fetch a file from the device and keep it."""

    name: FileName
    limit: Annotated[int, Meta(ge=1, le=64 << 20, description="Longest file taken, bytes.")] = 1 << 20
    may_fail: bool = False


class DownloadStep(Step, tag="download", kw_only=True, omit_defaults=True):
    """Send a file, of any size, and have its hash confirmed: a stored `resource`, or what this service fetches."""

    name: FileName
    resource: (
        Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME, description="Name of a resource of this service.")]
        | None
    ) = None
    url: (
        Annotated[
            str, Meta(pattern="^https?://", max_length=2000, description="From where this service fetches the file.")
        ]
        | None
    ) = None
    sha384: (
        Annotated[str, Meta(pattern="^[0-9a-f]{96}$", description="SHA-384 that the fetched file must have, hex.")]
        | None
    ) = None
    may_fail: bool = False

    def __post_init__(self) -> None:
        if (self.resource is None) == (self.url is None):
            raise ValueError("a download step has either a `resource` or a `url`")
        if self.url is None and self.sha384 is not None:
            raise ValueError("`sha384` belongs to a `url`; what is stored here needs none")


class WgetStep(Step, tag="wget", kw_only=True):
    """Let the device download a file by itself."""

    url: Annotated[str, Meta(pattern="^https?://", max_length=2000)]
    name: FileName
    sha384: Annotated[str, Meta(pattern="^[0-9a-f]{96}$", description="SHA-384 of the file, hex.")] | None = None
    may_fail: bool = False


AnyStep = WriteFileStep | RunScriptStep | RunCommandStep | FetchFileStep | DownloadStep | WgetStep


class Profile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What a device gets."""

    name: Name
    description: str = ""
    steps: list[AnyStep] = []
    variables: dict[Variable, str] = {}
    credential: Annotated[
        Literal["replace", "reuse"],
        Meta(description="Whether the device gets a new credential, or keeps its own and may onboard again."),
    ] = "replace"


class Rule(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """Chooses a profile; every condition that is given must hold. Patterns are those of shell file names."""

    profile: Name
    device_info: str | None = None
    serial: str | None = None
    owner_key: Annotated[str | None, Meta(description="Fingerprint of the owner's key, hex: a batch of vouchers.")] = (
        None
    )
    devmod: dict[str, str] = {}

    def matches(self, facts: "Facts") -> bool:
        """Whether every condition holds."""
        conditions = (
            (self.device_info, facts.device_info),
            (self.serial, facts.serial),
            (self.owner_key, facts.owner_key),
        )
        if any(pattern is not None and not fnmatch.fnmatchcase(value, pattern) for pattern, value in conditions):
            return False
        return all(
            facts.devmod is not None and fnmatch.fnmatchcase(str(getattr(facts.devmod, fact, "")), pattern)
            for fact, pattern in self.devmod.items()
        )


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule may look at."""

    guid: str
    serial: str
    device_info: str
    owner_key: str
    devmod: Devmod | None = None


def choose(rules: Sequence[Rule], facts: Facts) -> str | None:
    """The profile of the first rule that matches."""
    return next((rule.profile for rule in rules if rule.matches(facts)), None)


HELLO: Final = Profile(
    name="hello",
    description="Greets the device: one file, one script.",
    steps=[
        WriteFileStep(name="hello.txt", text="Welcome ashore.\n"),
        RunScriptStep(name="hello.sh", text='cat hello.txt\necho "I am $DEVICE_GUID on $(uname -s)"\n'),
    ],
)
"""The profile that every new owner service begins with."""


def resources(profile: Profile) -> list[str]:
    """The stored resources that a profile sends."""
    return [step.resource for step in profile.steps if isinstance(step, DownloadStep) and step.resource is not None]


class Sources(NamedTuple):
    """Where the files of `download` steps come from."""

    resources: Mapping[str, bytes]
    begin: Callable[[str, str | None], Arrive]
    """Begins to fetch a URL, with the hash that its file must have."""


def modules(profile: Profile, facts: Facts, sources: Sources) -> list[OwnerModule]:
    """The steps as FSIMs that this device has."""
    offered = set(facts.devmod.modules) if facts.devmod else set()
    variables = {"DEVICE_GUID": facts.guid, "DEVICE_NAME": facts.serial or facts.guid, **profile.variables}
    plan: list[OwnerModule] = []
    if any(isinstance(step, RunScriptStep) for step in profile.steps):
        plan += _environment(variables, offered)
    for step in profile.steps:
        plan += _step(step, offered, sources)
    return plan


def _environment(variables: Mapping[str, str], offered: set[str]) -> list[OwnerModule]:
    lines = "".join(f"{name}={shlex.quote(value)}\n" for name, value in variables.items())
    files = [_write(f"{name}.txt", value.encode(), offered) for name, value in variables.items()]
    return [_write(ENVIRONMENT_FILE, lines.encode(), offered), *files]


def _step(step: AnyStep, offered: set[str], sources: Sources) -> list[OwnerModule]:
    match step:
        case WriteFileStep():
            content = step.content if step.content is not None else (step.text or "").encode()
            return [_write(step.name, content, offered, optional=step.optional)]
        case RunScriptStep():
            arguments = ["/bin/sh", "-c", _WITH_ENVIRONMENT, step.interpreter, step.name]
            run = _run(arguments, offered, may_fail=step.may_fail, optional=step.optional)
            run.outcome.description = f"run script {step.name}"
            return [_write(step.name, step.text.encode(), offered, optional=step.optional), run]
        case RunCommandStep():
            return [_run(step.arguments, offered, may_fail=step.may_fail, optional=step.optional)]
        case FetchFileStep() if "fdo.upload" in offered or "fdo_sys" not in offered:
            return [UploadFile(step.name, limit=step.limit, optional=step.optional, may_fail=step.may_fail)]
        case FetchFileStep():
            return [FetchFile(step.name, limit=step.limit, optional=step.optional, may_fail=step.may_fail)]
        case DownloadStep():
            return [_download(step, sources)]
    digest = bytes.fromhex(step.sha384) if step.sha384 else None
    return [Wget(step.url, step.name, sha384=digest, optional=step.optional, may_fail=step.may_fail)]


def _download(step: DownloadStep, sources: Sources) -> OwnerModule:
    if step.url is None:
        content = sources.resources[step.resource or ""]
        return DownloadFile(step.name, content, optional=step.optional, may_fail=step.may_fail)
    arrive = sources.begin(step.url, step.sha384)
    return DownloadLater(step.name, arrive, optional=step.optional, may_fail=step.may_fail)


def _write(name: str, content: bytes, offered: set[str], *, optional: bool = False) -> OwnerModule:
    """fdo_sys where the device has it: it needs no answer. Otherwise fdo.download, which proves what arrived."""
    if "fdo_sys" in offered:
        return WriteFile(name, content, optional=optional)
    return DownloadFile(name, content, optional=optional)


def _run(arguments: Sequence[str], offered: set[str], *, may_fail: bool, optional: bool) -> OwnerModule:
    """fdo.command where the device has it: it brings the output back."""
    if "fdo.command" in offered or "fdo_sys" not in offered:
        return CommandModule(arguments, may_fail=may_fail, optional=optional)
    return ExecPolled(arguments, may_fail=may_fail, optional=optional)


def decode_profile(data: bytes) -> Profile:
    """A stored profile."""
    return msgspec.json.decode(data, type=Profile)
