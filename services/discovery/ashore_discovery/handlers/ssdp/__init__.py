"""Devices of UPnP, by SSDP: they say when they come and when they go, and describe themselves in XML.

details.py      what a configuration and the node's file may say; pure
messages.py     what a datagram says; pure
book.py         which device a message is of: root devices, their services and the devices in them; pure
asking.py       whether a device answers
description.py  the description of a device, fetched and read
handler.py      all of it as a Handler
"""
