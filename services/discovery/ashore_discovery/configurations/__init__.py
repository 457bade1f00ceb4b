"""What to look for.

document.py  the form of a configuration, and of the node's file
schema.py    reading it: every mistake with its place, and what was probably meant
sources.py   from a file and from the bus, as they change
"""
