"""pymemcache and python-memcached: the operations that applications use, each answer checked."""

import os
import sys

import memcache
from pymemcache.client.base import Client
from pymemcache.exceptions import MemcacheClientError, MemcacheServerError

from checks import check, many_and_large

ADDRESS = os.environ["MEMCACHED_SERVER"]


def pymemcache_operations():
    client = Client(ADDRESS, timeout=10)
    check(client.set("py:a", b"1", expire=100, noreply=False), "set")
    check(client.get("py:a") == b"1", "get")
    check(client.get("py:missing", default=b"none") == b"none", "miss")
    check(not client.add("py:a", b"2", noreply=False), "add existing")
    check(client.replace("py:a", b"10", noreply=False), "replace")
    check(client.append("py:a", b"0", noreply=False) and client.prepend("py:a", b"1", noreply=False), "append, prepend")
    check(client.get("py:a") == b"1100", "joined")
    check(client.incr("py:a", 5) == 1105 and client.decr("py:a", 2000) == 0, "arithmetic")
    check(client.incr("py:missing", 1) is None, "incr of a missing key")
    value, cas = client.gets("py:a")
    check(client.cas("py:a", b"x", cas, noreply=False) is True, "cas")
    check(client.cas("py:a", b"y", cas, noreply=False) is False, "stale cas")
    check(client.cas("py:missing", b"y", cas, noreply=False) is None, "cas of a missing key")
    check(client.touch("py:a", 200, noreply=False), "touch")
    many_and_large(client, "py")
    try:
        client.set("py:large", b"x" * 2000000, noreply=False)
        sys.exit("failed: a value beyond the limit was taken")
    except MemcacheServerError:
        check(client.get("py:large") is None, "the refused set leaves no stale value")
    try:
        client.incr("py:a", 1)
        sys.exit("failed: text was incremented")
    except MemcacheClientError:
        pass
    check(client.delete("py:a", noreply=False) and client.get("py:a") is None, "delete")
    check(b"pid" in client.stats() and client.version().startswith(b"1.6."), "stats, version")
    check(client.flush_all(noreply=False) and client.get("py:many:1") is None, "flush_all")
    client.close()
    print("  pymemcache: all operations right")


def python_memcached_operations():
    client = memcache.Client([ADDRESS], cache_cas=True)
    check(client.set("pm:a", {"name": "J\u00fcrgen", "list": [1, 2]}, time=100), "set of an object")
    check(client.get("pm:a") == {"name": "J\u00fcrgen", "list": [1, 2]}, "get of an object")
    check(client.set("pm:n", 7) and client.incr("pm:n") == 8 and client.decr("pm:n", 3) == 5, "arithmetic")
    check(client.add("pm:n", 1) == 0 and client.replace("pm:n", 2), "add, replace")
    check(client.set_multi({str(number): number for number in range(300)}, key_prefix="pm:") == [], "set_multi")
    wanted = [str(number) for number in range(400)]
    check(client.get_multi(wanted, key_prefix="pm:") == {str(number): number for number in range(300)}, "get_multi")
    check(client.gets("pm:n") == 2 and client.cas("pm:n", 3), "cas")
    check(client.touch("pm:n", 100), "touch")
    check(client.delete_multi(wanted[:300], key_prefix="pm:") and client.get("pm:5") is None, "delete_multi")
    check(len(client.get_stats()) == 1 and client.get_slab_stats() is not None, "stats")
    client.flush_all()
    check(client.get("pm:a") is None, "flush_all")
    print("  python-memcached: all operations right")


pymemcache_operations()
python_memcached_operations()
