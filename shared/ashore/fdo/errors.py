"""Every way an FDO exchange can fail, and the number by which the peer is told (FDO 1.1, section 5.1.1).

    FdoError                    500  INTERNAL_SERVER_ERROR
    +-- TokenError                1  INVALID_JWT_TOKEN
    +-- VoucherError              2  INVALID_OWNERSHIP_VOUCHER
    +-- OwnerSignError            3  INVALID_OWNER_SIGN_BODY
    +-- AddressError              4  INVALID_IP_ADDRESS
    +-- GuidError                 5  INVALID_GUID
    +-- NotFoundError             6  RESOURCE_NOT_FOUND
    +-- MessageBodyError        100  MESSAGE_BODY_ERROR
    +-- InvalidMessageError     101  INVALID_MESSAGE_ERROR
    |   +-- OrderError          101
    |   +-- SignatureError      101
    +-- CredentialReuseError    102  CRED_REUSE_ERROR
    +-- PeerError                 -  what the other side reported in its own message 255

To raise is to choose what the peer is told. The text is for people and goes to the peer too: it never holds a secret.
"""

from typing import ClassVar


class FdoError(Exception):
    """The exchange cannot go on."""

    code: ClassVar[int] = 500

    @property
    def reason(self) -> str:
        """What happened, in words; the class's first sentence when nothing was said."""
        return str(self) or (self.__doc__ or "").split("\n", 1)[0]


class TokenError(FdoError):
    """The session token is missing, altered, expired or already used."""

    code = 1


class VoucherError(FdoError):
    """The ownership voucher does not prove what it claims."""

    code = 2


class OwnerSignError(FdoError):
    """The owner's signed rendezvous blob is not valid."""

    code = 3


class AddressError(FdoError):
    """An address in the message cannot be used."""

    code = 4


class GuidError(FdoError):
    """The GUID is not the one this exchange is about."""

    code = 5


class NotFoundError(FdoError):
    """Nothing is known here about this device."""

    code = 6


class MessageBodyError(FdoError):
    """The body is not the CBOR that this message consists of."""

    code = 100


class InvalidMessageError(FdoError):
    """The message is well formed, and wrong."""

    code = 101


class OrderError(InvalidMessageError):
    """The message does not follow the one before it."""


class SignatureError(InvalidMessageError):
    """A signature, MAC or authentication tag does not verify."""


class CredentialReuseError(FdoError):
    """The device refuses to keep its credential."""

    code = 102


class PeerError(FdoError):
    """The peer ended the exchange with an error message."""

    def __init__(self, peer_code: int, message_number: int, text: str) -> None:
        super().__init__(f"the peer answered message {message_number} with error {peer_code}: {text}")
        self.peer_code = peer_code
        self.message_number = message_number
