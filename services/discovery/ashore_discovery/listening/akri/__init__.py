"""Akri's discovery handlers, as they are: in any language, unmodified, over Akri's own gRPC interface `v0`.

A handler registers at the socket `agent-registration.sock` in the folder that both mount, and names where it serves
`v0.DiscoveryHandler`: a Unix socket in the same folder, or an address. The agent opens one `Discover` there for each
configuration that asks for it, and keeps it open; each message on that stream is the whole list of what is there.

    reception -> endpoints (who has registered, and is remembered) -> handler (one listener for each name)
                                                                        wire (gRPC) -> messages -> lists (differences)

Only `wire`, `messages` and `reception` need the extra `akri`; the agent imports them where ASHORE_AKRI_DIR is set.
"""
