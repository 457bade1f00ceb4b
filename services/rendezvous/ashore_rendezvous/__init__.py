"""The rendezvous service: where a device asks for its owner (TO0, TO1)."""
