"""Which device a sighting is of, and whether it is still there. Pure: the time is an argument.

identity.py   by what a device is recognised, and its key
rulings.py    what people say of that, which goes before
presence.py   one facet of a device: present, suspect, leaving, unknown, gone
departure.py  how long a configuration waits before a device is gone for it
registry.py   all devices; two that are one are merged, one that is two is split
admission.py  how many new devices are believed
tracker.py    all of it together: sightings in, changes and questions out
"""
