"""Cameras and their kin, by WS-Discovery and a little SOAP; Akri's `onvif`.

wsdiscovery.py  Hello, Bye, Probe and Resolve in both namespaces, read and written; pure
details.py      what a configuration may say, Akri's filters among it; pure
credentials.py  whose user and password: Akri's keys; pure
security.py     WS-Security's digest and HTTP's; pure
camera.py       the questions that a device answers over SOAP
sockets.py      the group, and where questions come from
knowing.py      what is known of one device: from its words to a sighting; pure
gate.py         how much one sender, and all of them, may say
book.py         all that are known, and asking them what they are
asking.py       asking one whether it is there
rounds.py       asking all of them, all the time
handler.py      all of it as a Handler
"""
