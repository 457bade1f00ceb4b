"""Devices at MQTT brokers: the only protocol where somebody else, the broker, tells that a device has left.

details.py         what a configuration and the node's file may say
scheme.py          what all schemes have in common: messages in, sightings out; pure
own.py             our own scheme: a retained birth, a will with the same boot id, a heartbeat; pure
home_assistant.py  Home Assistant's discovery: a retained description of each entity; pure
availability.py    whether an entity of Home Assistant runs; pure
sparkplug.py       Sparkplug B: births and deaths of edge nodes and of devices behind them; pure
protobuf.py        as much of Sparkplug's payloads as a birth needs; pure
topic_map.py       any other topics, as a configuration describes them; pure
tls.py             how a broker is recognised, and recognises us
client.py          one connection, on aiomqtt
link.py            the connection to one broker, made again and again; it and client.py know aiomqtt
handler.py         all of it as a Handler
"""
