"""Increments a counter by Debian's python3-statsd, for each line of standard input so many times, and answers "ok"."""

import sys

import statsd

client = statsd.StatsClient("127.0.0.1", int(sys.argv[1]))
for line in sys.stdin:
    with client.pipeline() as pipeline:
        for _ in range(int(line)):
            pipeline.incr("orders", 2)
    print("ok", flush=True)
