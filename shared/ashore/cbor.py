"""Strict CBOR: what FDO allows, and nothing else (RFC 8949, section 4.2.1).

A thin wrapper over cbor2. Whatever decodes here is definite in length, shortest in form, without duplicate keys,
without trailing bytes, shallow, and free of every tag but those of COSE. The order of a map's keys is kept as it was
received, not demanded, because the C client signs maps that it did not sort. It follows that `dumps(loads(data))`
gives `data` again: what a peer signed or hashed can be rebuilt to the byte.

Maps that we write ourselves are built in the deterministic order of section 4.2.1 where they are built.
"""

from typing import Final, NoReturn

import cbor2

MAX_SIZE: Final = 65_535
"""Longest encoding accepted, bytes: the limit of an FDO message."""
MAX_DEPTH: Final = 16
COSE_ENCRYPT0: Final = 16
COSE_MAC0: Final = 17
COSE_SIGN1: Final = 18

Tag = cbor2.CBORTag


class CborError(ValueError):
    """These bytes are not the deterministic CBOR that FDO demands."""


def _refuse(*_arguments: object) -> NoReturn:
    raise CborError("a tag that FDO does not use")


class _Refusals(dict[int, object]):
    """Refuses every tag but those of COSE, so that no bignum, regular expression or shared reference is built."""

    def __missing__(self, tag: int) -> object:
        if tag in (COSE_ENCRYPT0, COSE_MAC0, COSE_SIGN1):
            raise KeyError(tag)
        return _refuse


_REFUSALS = _Refusals()


def loads(data: bytes, *, max_size: int = MAX_SIZE) -> object:
    """Decode one item that fills `data`; raise CborError for anything else."""
    if len(data) > max_size:
        raise CborError(f"{len(data)} bytes, at most {max_size} are accepted")
    try:
        value: object = cbor2.loads(
            data,
            semantic_decoders=_REFUSALS,  # type: ignore[arg-type]  # a mapping by its behaviour, as cbor2 documents
            max_depth=MAX_DEPTH,
            allow_indefinite=False,
            allow_duplicate_keys=False,
        )
        canonical = cbor2.dumps(value)
    except CborError:
        raise
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise CborError(str(error.__cause__ or error) or type(error).__name__) from error
    if canonical != data:
        # cbor2 takes longer forms and trailing bytes without a word; the comparison finds both.
        raise CborError("trailing bytes" if data.startswith(canonical) else "not in the shortest form")
    return value


def dumps(value: object) -> bytes:
    """Encode in the shortest form; a map keeps the order of its dict."""
    return cbor2.dumps(value)
