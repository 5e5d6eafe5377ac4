"""aiomcache: the operations that applications use, many at a time, each answer checked."""

import asyncio
import os

import aiomcache

from checks import check


async def main():
    host, port = os.environ["MEMCACHED_SERVER"].split(":")
    client = aiomcache.Client(host, int(port), pool_size=8)
    check(await client.set(b"ai:a", b"1", exptime=100), "set")
    check(await client.get(b"ai:a") == b"1" and await client.get(b"ai:missing") is None, "get")
    check(not await client.add(b"ai:a", b"2") and await client.replace(b"ai:a", b"10"), "add, replace")
    check(await client.append(b"ai:a", b"0") and await client.prepend(b"ai:a", b"1"), "append, prepend")
    check(await client.incr(b"ai:a", 5) == 1105 and await client.decr(b"ai:a", 5000) == 0, "arithmetic")
    value, cas = await client.gets(b"ai:a")
    check(await client.cas(b"ai:a", b"x", cas) and not await client.cas(b"ai:a", b"y", cas), "cas")
    check(await client.touch(b"ai:a", 200), "touch")
    names = [b"ai:many:%d" % number for number in range(500)]
    check(all(await asyncio.gather(*(client.set(name, name * 10) for name in names))), "many sets at a time")
    check(await asyncio.gather(*(client.get(name) for name in names)) == [name * 10 for name in names], "many gets")
    check(await client.multi_get(*names[:100]) == tuple(name * 10 for name in names[:100]), "multi_get")
    large = os.urandom(900000)
    check(await client.set(b"ai:large", large) and await client.get(b"ai:large") == large, "large value")
    check(await client.delete(b"ai:a") and await client.get(b"ai:a") is None, "delete")
    check((await client.version()).startswith(b"1.6.") and b"pid" in await client.stats(), "version, stats")
    await client.flush_all()
    check(await client.get(b"ai:large") is None, "flush_all")
    await client.close()
    print("  aiomcache: all operations right")


asyncio.run(main())
