"""Files that people write: YAML, one document or several, or JSON, which is YAML as well."""

from pathlib import Path
from typing import Any

import msgspec
import yaml

from ashore_cli.errors import CommandError


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks: scripts in profiles are for reading."""


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text.rstrip("\n") or text.endswith("\n") else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def to_yaml(value: object) -> str:
    """Anything that msgspec knows, as YAML."""
    builtin = msgspec.to_builtins(value, enc_hook=str, str_keys=True)
    return yaml.dump(builtin, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def read_documents(path: Path) -> list[Any]:
    """All documents of a file, of which there is at least one; a list counts as several, and may be empty."""
    try:
        documents = [one for one in yaml.safe_load_all(path.read_bytes()) if one is not None]
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", remedy="check its path") from error
    except yaml.YAMLError as error:
        raise CommandError(f"{path} is neither YAML nor JSON: {_reason(error)}", remedy="correct it") from error
    if not documents:
        raise CommandError(f"{path} is empty", remedy="check its path, and whether it was saved")
    return [item for one in documents for item in (one if isinstance(one, list) else [one])]


def _reason(error: yaml.YAMLError) -> str:
    """In one line, with the place."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    # The line where it began helps more than the one where nothing else could follow: a bracket that is not closed.
    mark = error.context_mark or error.problem_mark
    words = ", ".join(part for part in (error.context, error.problem) if part)
    return f"line {mark.line + 1}, column {mark.column + 1}: {words}"
