"""Modbus devices over TCP, in the address ranges that configurations name and nowhere else.

details.py  what a configuration and the node's file may say; pure
frames.py   what is asked and answered on the wire; pure
client.py   a connection: who are you, unit 1?
hints.py    addresses that have just spoken on the network, so that nobody has to wait for the next sweep
targets.py  which addresses a configuration names; pure
handler.py  all of it as a Handler
"""
