"""The discovery agent: one on each edge node. It sees devices come and go, and tells the bus within milliseconds.

    listening/ + handlers/   what is heard and seen, as sightings
    tracking/                which device that is, and whether it is still there; pure
    matching/                which configurations want it, and why or why not; pure
    publishing.py            events on the bus, through absences of the bus

`handler.py` and `model.py` are all that the author of a handler needs to know.
"""
