"""pylibmc (libmemcached), in the binary and the text protocol: the operations that applications use, each answer checked.

usage: pylibmc_client.py
MEMCACHED_SERVER names a server without authentication; MEMCACHED_SASL_SERVER, MEMCACHED_USERNAME and MEMCACHED_PASSWORD one
that wants SASL.
"""

import os
import sys

import pylibmc

from checks import check


def operations(binary, prefix):
    client = pylibmc.Client(
        [os.environ["MEMCACHED_SERVER"]], binary=binary, behaviors={"cas": True, "tcp_nodelay": True, "ketama": True}
    )
    name = lambda key: f"{prefix}:{key}"
    check(client.set(name("a"), {"name": "J\u00fcrgen", "list": [1, 2]}, time=100), "set of an object")
    check(client.get(name("a")) == {"name": "J\u00fcrgen", "list": [1, 2]}, "get of an object")
    check(client.get(name("missing")) is None, "miss")
    check(not client.add(name("a"), 1) and client.replace(name("a"), "x"), "add, replace")
    check(client.append(name("a"), "y") and client.prepend(name("a"), "w"), "append, prepend")
    check(client.get(name("a")) == "wxy", "joined")
    client.set(name("n"), 10)
    check(client.incr(name("n"), 5) == 15 and client.decr(name("n"), 100) == 0, "arithmetic")
    value, cas = client.gets(name("n"))
    check(client.cas(name("n"), 3, cas) and not client.cas(name("n"), 4, cas), "cas")
    check(client.touch(name("n"), 100), "touch")
    many = {name(f"many:{number}"): "x" * number for number in range(500)}
    check(client.set_multi(many, time=100) == [], "set_multi")
    check(client.get_multi(list(many) + [name("missing")]) == many, "get_multi")
    large = os.urandom(900000)
    check(client.set(name("large"), large) and client.get(name("large")) == large, "large value")
    check(client.delete(name("a")) and client.get(name("a")) is None, "delete")
    check(int(client.get_stats()[0][1]["curr_items"]) > 0, "stats")
    client.flush_all()
    check(client.get(name("n")) is None, "flush_all")


def authenticated():
    server, user = os.environ["MEMCACHED_SASL_SERVER"], os.environ["MEMCACHED_USERNAME"]
    client = pylibmc.Client([server], binary=True, username=user, password=os.environ["MEMCACHED_PASSWORD"])
    check(client.set("sasl:a", "x") and client.get("sasl:a") == "x", "with the right password")
    for word in ("wrong", ""):
        try:
            pylibmc.Client([server], binary=True, username=user, password=word).get("sasl:a")
            sys.exit("failed: a wrong password was let in")
        except pylibmc.Error:
            pass


operations(True, "pl:binary")
operations(False, "pl:text")
print("  pylibmc: all operations right, binary and text")
if pylibmc.support_sasl:
    authenticated()
    print("  pylibmc: SASL right")
