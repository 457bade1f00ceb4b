"""What most commands may be told: where the services are, and the form of the output where there is any."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Group, Parameter
from cyclopts.validators import Number

if TYPE_CHECKING:
    # The clients take a quarter of a second to import, which `--help` shall not wait for.
    from ashore.client import Client, Context

CONNECTION = Group("Connection", sort_key=100)
Form = Literal["table", "json", "yaml"]

Data = Annotated[
    Path,
    Parameter(
        name="--data", env_var="ASHORE_DATA_DIR", group=CONNECTION, help="Data folder of what runs on this machine."
    ),
]
Tls = Annotated[
    bool,
    Parameter(help="Services and NATS speak TLS only, with certificates of this folder's authority.", negative=""),
]
Limit = Annotated[int, Parameter(help="The most to list.", validator=Number(gte=1))]
Url = str | None


def _url(service: str, text: str) -> Parameter:
    return Parameter(
        name=f"--{service}-url", env_var=f"ASHORE_{service.upper().replace('-', '_')}_URL", group=CONNECTION, help=text
    )


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where the services are: all that a command takes which shows nothing."""

    data: Data = Path(".ashore")
    manufacturer_url: Annotated[Url, _url("manufacturer", "The manufacturer service.")] = None
    rendezvous_url: Annotated[Url, _url("rendezvous", "The rendezvous service.")] = None
    owner_url: Annotated[Url, _url("owner", "The owner service.")] = None
    broker_launcher_url: Annotated[Url, _url("broker-launcher", "The broker launcher.")] = None
    nats_url: Annotated[Url, _url("nats", "The bus.")] = None

    def context(self) -> "Context":
        """Where everything is; what the options do not say the environment and the data folder do."""
        from ashore.client import Context  # noqa: PLC0415 - see the import for typing above

        given = {
            "manufacturer": self.manufacturer_url,
            "rendezvous": self.rendezvous_url,
            "owner": self.owner_url,
            "broker-launcher": self.broker_launcher_url,
            "nats": self.nats_url,
        }
        urls = {name: url for name, url in given.items() if url}
        return Context.load(os.environ, data_dir=self.data, urls=urls)

    def client(self) -> "Client":
        """The services, for the length of a block."""
        from ashore.client import Client  # noqa: PLC0415 - see the import for typing above

        return Client(self.context())


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Options(Connection):
    """Where the services are, and how to show what they say."""

    output: Annotated[Form | None, Parameter(name=["--output", "-o"], help="Form of the output.")] = None
