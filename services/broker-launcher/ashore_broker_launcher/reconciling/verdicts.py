"""Which configurations can be used: each edit of each is looked into once, since that takes a while."""

from ashore_broker_launcher.admission import checks
from ashore_broker_launcher.admission.checks import Rules
from ashore_broker_launcher.cluster import CONFIGURATION, JsonObject, Key
from ashore_broker_launcher.model import Configuration, ObjectError
from ashore_broker_launcher.objects import is_leaving, uid_of
from ashore_broker_launcher.reconciling.view import View


class Verdicts:
    """What is wrong with configurations, whether or not a webhook has looked at them before."""

    def __init__(self, view: View, rules: Rules) -> None:
        self._view = view
        self._rules = rules
        self._found: dict[Key, tuple[object, list[str]]] = {}
        self._read: dict[Key, tuple[JsonObject, Configuration]] = {}

    def problems(self, key: Key, body: JsonObject) -> list[str]:
        """What is wrong with it, a sentence each."""
        edit = uid_of(body), body["metadata"].get("generation")
        before = self._found.get(key)
        if before is None or before[0] != edit:
            before = self._found[key] = edit, self._look(body)
        return before[1]

    def usable(self, key: Key) -> Configuration | None:
        """The configuration, where it is there to stay and nothing is wrong with it."""
        body = self._view.get(CONFIGURATION, key)
        if body is None or is_leaving(body) or self.problems(key, body):
            return None
        # Each device and each instance asks, and an object in view is replaced and never changed.
        before = self._read.get(key)
        if before is None or before[0] is not body:
            before = self._read[key] = body, Configuration.read(body)
        return before[1]

    def forget(self, key: Key) -> None:
        """It is no more."""
        self._found.pop(key, None)
        self._read.pop(key, None)

    def _look(self, body: JsonObject) -> list[str]:
        # A list of objects leaves out of each what all of them have.
        whole = {"apiVersion": CONFIGURATION.api_version, "kind": CONFIGURATION.name, **body}
        found = checks.problems(whole, self._rules)
        if not found:
            try:
                Configuration.read(body)
            except ObjectError as error:
                return [str(error)]
        return found
