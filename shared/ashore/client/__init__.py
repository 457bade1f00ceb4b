"""The one way by which the command line and the console reach the services: their REST APIs, typed.

    async with Client(Context.load(os.environ)) as client:
        page = await client.owner.devices(search="demo-")

What comes back are the Structs of `manufacturer`, `rendezvous`, `owner_model` and `launcher_model`; fields that a newer
service adds are ignored. What is refused becomes ClientError, with the remedy that the service gives. `context` finds
out where the services are and which token opens them. Events do not come this way but by the bus.
"""

from ashore.client.client import Client, client_tls
from ashore.client.connection import Readiness, ReadinessCheck
from ashore.client.context import BusPlace, Context, Place, shown
from ashore.client.errors import ClientError, NotUnderstood, Unreachable

__all__ = [
    "BusPlace",
    "Client",
    "ClientError",
    "Context",
    "NotUnderstood",
    "Place",
    "Readiness",
    "ReadinessCheck",
    "Unreachable",
    "client_tls",
    "shown",
]
