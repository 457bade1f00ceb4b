"""`python -m tests.discovery.mqtt_device JSON`: a device of our own scheme, which comes back by itself.

JSON: `{"port": 1883, "name": "site/device", "boot": "1", "seen": 0.5, "birth": {}}`. It prints a line when it is born.
"""

import json
import sys
import time
from typing import Any

import paho.mqtt.client as mqtt

if __name__ == "__main__":
    order = json.loads(sys.argv[1])
    topic = f"ashore/v1/{order['name']}"

    def connect(client: mqtt.Client, *_: Any) -> None:
        client.publish(f"{topic}/death", b"", qos=1, retain=True)
        birth = {"boot": order["boot"], "serial": "SN-" + order["name"], "model": "M1", **order.get("birth", {})}
        client.publish(f"{topic}/birth", json.dumps(birth), qos=1, retain=True)
        print("born", flush=True)

    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    client.reconnect_delay_set(1, 2)
    client.will_set(f"{topic}/death", json.dumps({"boot": order["boot"]}), qos=1, retain=True)
    client.on_connect = connect
    client.connect("127.0.0.1", order["port"], keepalive=10)
    client.loop_start()
    while True:
        time.sleep(order.get("seen", 3600))
        client.publish(f"{topic}/seen", json.dumps({"boot": order["boot"]}))
