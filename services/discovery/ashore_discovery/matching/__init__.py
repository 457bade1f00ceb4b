"""Which configurations want a device, and why or why not. Pure.

filters.py   conditions on facts, as a tree that explains itself
desk.py      all configurations at once: what the tracker asks
"""
