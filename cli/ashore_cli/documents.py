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
    """All documents of a file; a list counts as several."""
    try:
        documents = [one for one in yaml.safe_load_all(path.read_bytes()) if one is not None]
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", remedy="check its path") from error
    except yaml.YAMLError as error:
        raise CommandError(f"{path} is neither YAML nor JSON: {error}", remedy="correct it") from error
    return [item for one in documents for item in (one if isinstance(one, list) else [one])]
