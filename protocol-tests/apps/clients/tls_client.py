"""pymemcache over TLS: the ordinary tls_context, certificates of client and server made here, and a server of its own.

usage: tls_client.py <server binary>
"""

import getpass
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import time

import web
from pymemcache.client.base import Client, PooledClient

DAYS = ["-days", "2"]
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


def check(right, what):
    if not right:
        sys.exit(f"failed: {what}")


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def make_certificates(folder):
    """An authority, and certificates for server and client that it signed."""
    openssl("req", "-x509", *EC, "-keyout", f"{folder}/ca.key", "-out", f"{folder}/ca.pem", "-subj", "/CN=authority", *DAYS)
    for name in ("localhost", "client"):
        openssl("req", *EC, "-keyout", f"{folder}/{name}.key", "-out", f"{folder}/{name}.csr", "-subj", f"/CN={name}")
        extensions = pathlib.Path(folder, f"{name}.ext")
        extensions.write_text(f"subjectAltName=DNS:{name},IP:127.0.0.1\n")
        openssl("x509", "-req", "-in", f"{folder}/{name}.csr", "-CA", f"{folder}/ca.pem", "-CAkey", f"{folder}/ca.key",
                "-CAcreateserial", "-extfile", str(extensions), "-out", f"{folder}/{name}.pem", *DAYS)


def context(folder, with_certificate):
    tls = ssl.create_default_context(cafile=f"{folder}/ca.pem")
    if with_certificate:
        tls.load_cert_chain(f"{folder}/client.pem", f"{folder}/client.key")
    return tls


def work(client):
    """What applications do."""
    check(client.set("tls:a", b"1", expire=100, noreply=False), "set")
    check(client.get("tls:a") == b"1" and client.incr("tls:a", 41) == 42, "get, incr")
    many = {f"tls:many:{number}": str(number).encode() * 40 for number in range(1000)}
    check(client.set_many(many, noreply=False) == [], "set_many")
    check(client.get_many(list(many)) == many, "get_many")
    for key, number in zip(many, range(1000)):
        client.set(key, b"quiet %d" % number, noreply=True)
    check(client.get("tls:many:999") == b"quiet 999", "a thousand noreply sets, then a get")
    large = os.urandom(1000000)
    client.set("tls:large", large, noreply=False)
    check(client.get("tls:large") == large, "large value")
    check(client.stats()[b"ssl_handshake_errors"] >= 0, "stats tell about TLS")


def main():
    with tempfile.TemporaryDirectory() as folder:
        make_certificates(folder)
        open_port, strict_port = web.free_port(), web.free_port()
        options = f"ssl_chain_cert={folder}/localhost.pem,ssl_key={folder}/localhost.key,ssl_ca_cert={folder}/ca.pem"
        server = subprocess.Popen([sys.argv[1], "-u", getpass.getuser(), "-p", str(open_port), "-Z", "-o", options,
                                   "-l", f"127.0.0.1,mtls:127.0.0.1:{strict_port}"])
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    socket.create_connection(("127.0.0.1", strict_port)).close()
                    break
                except OSError:
                    check(time.monotonic() < deadline and server.poll() is None, "the server starts")
                    time.sleep(0.05)
            for port, with_certificate in ((open_port, False), (open_port, True), (strict_port, True)):
                work(Client(("localhost", port), tls_context=context(folder, with_certificate), timeout=10))
            work(PooledClient(("localhost", open_port), tls_context=context(folder, False), timeout=10))
            try:
                Client(("localhost", strict_port), tls_context=context(folder, False), timeout=10).get("tls:a")
                sys.exit("failed: a client without a certificate was served")
            except (OSError, ssl.SSLError):
                pass
            check(server.poll() is None, "the server lives")
        finally:
            server.terminate()
            server.wait()
    print("  pymemcache over TLS: all operations right")


main()
