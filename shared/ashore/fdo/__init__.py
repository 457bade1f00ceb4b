"""FIDO Device Onboard 1.1 as pure functions, both sides of each protocol.

Read it beside the specification: `messages` names every message, `di`, `to0`, `to1` and `to2` hold the steps, `voucher`
the ownership voucher, `kex` and `ciphers` the keys, `serviceinfo` the modules. Nothing here opens a file or a socket,
reads a clock or draws a random number: what a step needs is an argument.
"""
