r"""Placeholders in texts of `brokerManifests`: `{{INSTANCE}}`, `{{properties.NAME}}`.

Values come from devices, so they are put in as text and never read as anything: the objects are parsed before, each
text is looked through once, and what stands in a value is no placeholder. `{{` before a dot, a dollar sign or a quote
begins none either (those are templates of others); whoever needs two braces before a word writes `\{{`.

In what the kubelet runs (command, arguments and environment of a container) a value is escaped, so that `$(PASSWORD)`
in a device's name is not replaced by its broker's secret. No escaping can help a value inside a shell's script: pass
it in an environment variable.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ashore_broker_launcher.desired.placeholder import PLACEHOLDER, escaped

_PLACEHOLDER: Final = re.compile(r"(\\?)\{\{\s*([A-Za-z_][^{}\s]*)\s*\}\}")
_CONTAINERS: Final = frozenset({"containers", "initContainers", "ephemeralContainers"})
_EXPANDED: Final = frozenset({"command", "args", "subPathExpr"})
"""Fields of containers in which the kubelet replaces `$(NAME)`, beside the values of `env`."""
_NOT_EXPANDED: Final = "lifecycle"

Path = tuple[str, ...]


class TemplateError(ValueError):
    """A text has a placeholder that means nothing; the text says which, and what could be meant."""


def rendered(body: Any, values: Mapping[str, str]) -> Any:
    """The body with the values in all of its texts, and the resource in its keys; raise TemplateError."""
    return _rendered(body, values, ())


def placeholders(body: Any) -> Iterator[str]:
    """All placeholders in its texts."""
    if isinstance(body, str):
        yield from (match[2] for match in _PLACEHOLDER.finditer(body) if not match[1])
    elif isinstance(body, dict):
        for value in body.values():
            yield from placeholders(value)
    elif isinstance(body, list):
        for value in body:
            yield from placeholders(value)


def _rendered(body: Any, values: Mapping[str, str], path: Path) -> Any:
    if isinstance(body, str):
        return _text(body, values, expanded=_is_expanded(path))
    if isinstance(body, list):
        return [_rendered(one, values, path) for one in body]
    if isinstance(body, dict):
        return {_key(key, values): _rendered(value, values, (*path, key)) for key, value in body.items()}
    return body


def _text(text: str, values: Mapping[str, str], *, expanded: bool) -> str:
    def value_of(match: re.Match[str]) -> str:
        if match[1]:
            return match[0][1:]
        value = _value(match[2], values)
        return escaped(value) if expanded else value

    return _PLACEHOLDER.sub(value_of, text)


def _value(name: str, values: Mapping[str, str]) -> str:
    if name in values:
        return values[name]
    near = difflib.get_close_matches(name, values, n=1, cutoff=0.4)
    hint = f"did you mean {{{{{near[0]}}}}}?" if near else f"there are {', '.join(sorted(values))}"
    raise TemplateError(f"{{{{{name}}}}} is no placeholder: {hint}")


def _key(key: str, values: Mapping[str, str]) -> str:
    if key == PLACEHOLDER:
        return values["PLACEHOLDER"]
    match = _PLACEHOLDER.search(key)
    if match and not match[1]:
        raise TemplateError(
            f"{match[0]} stands in the key '{key}': of all placeholders only {PLACEHOLDER} may be a key"
        )
    return key


def _is_expanded(path: Path) -> bool:
    if _CONTAINERS.isdisjoint(path) or _NOT_EXPANDED in path:
        return False
    return path[-1] in _EXPANDED or path[-2:] == ("env", "value")
