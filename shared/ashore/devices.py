"""The one vocabulary of a device's states, for services, events and screens (docs/glossary.md)."""

from enum import StrEnum


class DeviceState(StrEnum):
    """Where a device stands on its way ashore: a closed list."""

    MANUFACTURED = "manufactured"
    """It has a credential; the manufacturer has its voucher."""
    OWNED = "owned"
    """An owner has its voucher."""
    REGISTERED = "registered"
    """The rendezvous knows where its owner is."""
    REDIRECTED = "redirected"
    """It has been told."""
    ONBOARDING = "onboarding"
    """It is proving itself to its owner, or working through its profile."""
    ONBOARDED = "onboarded"
    """It is ashore."""
    FAILED = "failed"
    """The last attempt broke off; it will try again."""
