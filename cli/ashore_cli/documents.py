"""Files that people write: YAML, one document or several, or JSON, which is YAML as well."""

from pathlib import Path
from typing import Any

import yaml

from ashore_cli.errors import CommandError


def read_documents(path: Path) -> list[Any]:
    """All documents of a file; a list counts as several."""
    try:
        documents = [one for one in yaml.safe_load_all(path.read_bytes()) if one is not None]
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", remedy="check its path") from error
    except yaml.YAMLError as error:
        raise CommandError(f"{path} is neither YAML nor JSON: {error}", remedy="correct it") from error
    return [item for one in documents for item in (one if isinstance(one, list) else [one])]
