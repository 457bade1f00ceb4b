"""The device credential (FDO 1.1, section 3.4.1): all that a device needs to know, but for its private key."""

import msgspec

from ashore.fdo.rvinfo import RvInfo
from ashore.fdo.types import PROTOCOL_VERSION, Guid, Hash


class Credential(msgspec.Struct, frozen=True, kw_only=True):
    """`DeviceCredential`. The HMAC secret never leaves the device and is left out of `repr`."""

    guid: Guid
    device_info: str
    rv_info: RvInfo
    public_key_hash: Hash
    """Of the manufacturer's public key, or after an onboarding the owner's."""
    hmac_secret: bytes
    version: int = PROTOCOL_VERSION
    active: bool = True

    def __repr__(self) -> str:
        return f"Credential(guid={self.guid.hex()}, device_info={self.device_info!r})"
