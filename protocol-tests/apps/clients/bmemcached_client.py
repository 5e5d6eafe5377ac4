"""python-binary-memcached, with and without SASL: the operations that applications use, each answer checked.

usage: bmemcached_client.py
MEMCACHED_SERVER names a server without authentication; MEMCACHED_SASL_SERVER, MEMCACHED_USERNAME and MEMCACHED_PASSWORD one
that wants SASL.
"""

import os

import bmemcached
from bmemcached.exceptions import MemcachedException

from checks import check


def operations(client):
    check(client.set("bm:a", {"name": "J\u00fcrgen", "list": [1, 2]}, time=100), "set of an object")
    check(client.get("bm:a") == {"name": "J\u00fcrgen", "list": [1, 2]}, "get of an object")
    check(client.get("bm:missing") is None, "miss")
    check(not client.add("bm:a", "x") and client.replace("bm:a", "y"), "add, replace")
    check(client.incr("bm:n", 5, default=7) == 7 and client.incr("bm:n", 5) == 12 and client.decr("bm:n", 100) == 0, "arithmetic")
    value, cas = client.gets("bm:a")
    check(value == "y" and client.cas("bm:a", "z", cas) and not client.cas("bm:a", "zz", cas), "cas")
    many = {f"bm:many:{number}": "x" * number for number in range(300)}
    check(not client.set_multi(many, time=100), "set_multi")
    check(client.get_multi(list(many)) == many, "get_multi")
    large = os.urandom(900000)
    check(client.set("bm:large", large, compress_level=0) and client.get("bm:large") == large, "large value")
    check(client.delete("bm:a") and client.get("bm:a") is None, "delete")
    check(client.delete_multi(list(many)[:100]) is not None and client.get("bm:many:5") is None, "delete_multi")
    stats = list(client.stats().values())[0]
    check(int(stats["cmd_set"]) > 0 and "maxbytes" in list(client.stats("settings").values())[0], "stats")
    client.flush_all()
    check(client.get("bm:large") is None, "flush_all")


def authenticated():
    server, user = os.environ["MEMCACHED_SASL_SERVER"], os.environ["MEMCACHED_USERNAME"]
    operations(bmemcached.Client([server], user, os.environ["MEMCACHED_PASSWORD"]))
    for name, word in [(user, "wrong"), ("nobody", os.environ["MEMCACHED_PASSWORD"]), (None, None)]:
        try:
            client = bmemcached.Client([server], name, word, socket_timeout=5)
            check(not client.set("bm:a", "x") and client.get("bm:a") is None, f"{name} was let in by {word}")
        except MemcachedException:
            pass


operations(bmemcached.Client([os.environ["MEMCACHED_SERVER"]]))
print("  python-binary-memcached: all operations right")
authenticated()
print("  python-binary-memcached: SASL right, and refused without the password")
