"""Servers of CoAP: found by asking their group, or told of by a resource directory that they have registered with.

details.py    what a configuration and the node's file may say; pure
messages.py   what is on the wire (RFC 7252); pure
links.py      lists of links (RFC 6690); pure
exchange.py   questions and their answers, over all sockets: of groups, of one server, and observed ones (RFC 7641)
directory.py  what a resource directory says, and goes on saying (RFC 9176)
book.py       what is known of each server, from both; pure
handler.py    all of it as a Handler
"""
