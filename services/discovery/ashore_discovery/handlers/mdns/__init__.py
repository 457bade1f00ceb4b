"""Services that announce themselves on a network: mDNS and DNS-SD (RFC 6762, RFC 6763).

presets.py   kinds of devices: which service types they announce, and what their TXT records say of them; pure
details.py   what a configuration may say, and whether a service is what it wants; pure
record.py    a service as its records tell it: TXT, facts, identity; pure
book.py      the services of one interface, and what is news of them; pure
ear.py       zeroconf, bound to one interface: it asks for types and hears records
question.py  asking one device directly whether it is there
rounds.py    asking all of them in turn, because nobody announces a pulled plug
handler.py   all of it as a Handler
"""
