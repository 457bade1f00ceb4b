"""Reading what users write: an object that cannot be read is told where it is looked at, and harms no other."""

import structlog

from ashore_broker_launcher.cluster import JsonObject
from ashore_broker_launcher.model import Configuration, Instance, ObjectError
from ashore_broker_launcher.objects import is_leaving

log: structlog.typing.FilteringBoundLogger = structlog.get_logger()


def read_configuration(body: JsonObject | None) -> Configuration | None:
    """A configuration that is there to stay and can be read; its own pass says why where it cannot."""
    if body is None or is_leaving(body):
        return None
    try:
        return Configuration.read(body)
    except ObjectError:
        return None


def read_instance(body: JsonObject) -> Instance | None:
    """An instance; None where somebody has made something else of it."""
    try:
        return Instance.read(body)
    except ObjectError as error:
        log.warning("an instance cannot be read", reason=str(error))
        return None
