"""Devices of this node, as the kernel and udevd tell of them; Akri's `udev`.

details.py  what a configuration and the node's file may say
rules.py    Akri's `udevRules`: the grammar, and whether a rule holds; pure
record.py   what is kept of a kernel device: the record that rules look at, and its facts
sources.py  where news comes from: udevd, the kernel, or looking around
handler.py  all of it as a Handler
"""
