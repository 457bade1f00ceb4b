"""OPC UA servers: found at discovery servers, and asked one by one whether they are there.

A discovery server's list is a hint and not the truth: entries of crashed servers stay in it for minutes or for ever.
So every server on it is asked itself, by the first two messages of the protocol, before anything is told of it.

| file | what is in it |
|---|---|
| `handler.py` | the handler: the search, probes, and what a server says of itself |
| `search.py` | who is asked, and when |
| `book.py` | the servers that are known, by whom, and whether they answer; pure |
| `details.py` | what a configuration and the node's file may say, and which servers that wants; pure |
| `places.py` | addresses of servers, out of what strangers write; pure |
| `resolver.py` | names to addresses, and which of them may be spoken to |
| `learning.py` | what a server says of its endpoints, as facts; pure |
| `hello.py` | the handshake of OPC UA over TCP, which shows cheaply that a server is there |
| `client.py` | the questions that need a secure channel, by asyncua; imported when it is used |
"""
