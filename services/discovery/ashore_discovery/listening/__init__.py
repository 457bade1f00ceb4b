"""Runs handlers, so that one that raises, hangs or is broken harms nothing but itself.

catalogue.py  which handlers there are; a handler is imported when a configuration asks for it
listener.py   one running handler: started, watched, restarted
listeners.py  all of them, as the configurations want them
remote.py     handlers outside the agent's process, over NATS
tools.py      what a handler is given
"""
