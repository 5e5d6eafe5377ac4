"""What the Python clients share: a check that ends the program, and the work with many and large items over pymemcache."""

import os
import sys


def check(right, what):
    if not right:
        sys.exit(f"failed: {what}")


def many_and_large(client, prefix):
    """What pymemcache does with a thousand keys, with noreply, and with a large value."""
    many = {f"{prefix}:many:{number}": str(number).encode() * 40 for number in range(1000)}
    check(client.set_many(many, noreply=False) == [], "set_many")
    check(client.get_many(list(many)) == many, "get_many")
    for key, number in zip(many, range(1000)):
        client.set(key, b"quiet %d" % number, noreply=True)
    check(client.get(f"{prefix}:many:999") == b"quiet 999", "a thousand noreply sets, then a get")
    large = os.urandom(1000000)
    client.set(f"{prefix}:large", large, noreply=False)
    check(client.get(f"{prefix}:large") == large, "large value")
