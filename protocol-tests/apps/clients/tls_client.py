"""pymemcache over TLS: the ordinary tls_context, certificates of client and server made here, and a server of its own.

usage: tls_client.py <server binary>
"""

import getpass
import os
import pathlib
import ssl
import subprocess
import sys
import tempfile

import web
from pymemcache.client.base import Client, PooledClient

from checks import check, many_and_large

DAYS = ["-days", "2"]
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]


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
    many_and_large(client, "tls")
    check(client.stats()[b"ssl_handshake_errors"] >= 0, "stats tell about TLS")


def main():
    with tempfile.TemporaryDirectory() as folder:
        make_certificates(folder)
        strict_port = web.free_port()
        options = f"ssl_chain_cert={folder}/localhost.pem,ssl_key={folder}/localhost.key,ssl_ca_cert={folder}/ca.pem"
        # The strict listener first: whoever can come to the other one can come to both.
        command = [sys.argv[1], "-u", getpass.getuser(), "-p", "{port}", "-Z", "-o", options,
                   "-l", f"mtls:127.0.0.1:{strict_port},127.0.0.1"]
        server = web.WebServer(command, os.curdir)
        try:
            open_port = server.port
            for port, with_certificate in ((open_port, False), (open_port, True), (strict_port, True)):
                work(Client(("localhost", port), tls_context=context(folder, with_certificate), timeout=10))
            work(PooledClient(("localhost", open_port), tls_context=context(folder, False), timeout=10))
            try:
                Client(("localhost", strict_port), tls_context=context(folder, False), timeout=10).get("tls:a")
                sys.exit("failed: a client without a certificate was served")
            except (OSError, ssl.SSLError):
                pass
            check(server.process.poll() is None, "the server lives")
        finally:
            server.stop()
    print("  pymemcache over TLS: all operations right")


main()
