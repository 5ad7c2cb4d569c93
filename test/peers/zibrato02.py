"""The messages of Zibrato 0.2, with which Python programs publish them; for tests.

    zibrato02.py publish PORT    reads {"times", "level", "mtype", "name", "value", "source"} from each line of standard
                                 input, publishes that so many times, and answers "ok"
    zibrato02.py work PORT LEVEL...
                                 prints of each message that comes, as JSON: its parts, and what a worker makes of it
    zibrato02.py forward         forwards as the broker did, and prints the ports of publishers and workers
"""

import json
import sys
import time

import zmq


def message(command):
    level = command.get("level") or "info"
    mtype = command.get("mtype") or "Gauge"
    name = command.get("name") or "default"
    source = command.get("source") or "not_specified"
    value = str(command.get("value"))
    return "|".join([level, mtype, name, value, str(int(time.time())), source]).encode()


def say(what):
    print(what, flush=True)


def publish(context, port):
    socket = context.socket(zmq.PUB)
    socket.set_hwm(0)
    socket.connect("tcp://127.0.0.1:" + port)
    for line in sys.stdin:
        command = json.loads(line)
        for _ in range(command.get("times", 1)):
            socket.send(message(command))
        say("ok")
    socket.close(linger=10_000)


def work(context, port, levels):
    socket = context.socket(zmq.SUB)
    socket.set_hwm(0)
    socket.connect("tcp://127.0.0.1:" + port)
    for level in levels:
        socket.setsockopt(zmq.SUBSCRIBE, level.encode())
    while True:
        parts = socket.recv_multipart()
        received = {"parts": [part.decode() for part in parts]}
        try:
            (level, mtype, name, value, timestamp, source) = parts[0].decode().split("|")
            # its bits, because a text of it would be one more thing to compare
            received["value"] = float(value).hex()
            received["timestamp"] = int(timestamp)
        except ValueError as error:
            received["error"] = str(error)
        say(json.dumps(received))


def forward(context):
    publishers = context.socket(zmq.SUB)
    publishers.setsockopt(zmq.SUBSCRIBE, b"")
    workers = context.socket(zmq.PUB)
    for socket in (publishers, workers):
        socket.set_hwm(0)
    ports = [socket.bind_to_random_port("tcp://127.0.0.1") for socket in (publishers, workers)]
    say(json.dumps(ports))
    zmq.device(zmq.FORWARDER, publishers, workers)


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    with zmq.Context() as shared:
        if what == "publish":
            publish(shared, *arguments)
        elif what == "work":
            work(shared, arguments[0], arguments[1:])
        else:
            forward(shared)
