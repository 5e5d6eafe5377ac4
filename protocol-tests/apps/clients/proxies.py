"""nginx's memcached module, and twemproxy (nutcracker), in front of the server.

usage: proxies.py
MEMCACHED_SERVER names the server behind them.
"""

import os
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from pymemcache.client.base import Client

from checks import check
from web import WebServer, free_port

SERVER = os.environ["MEMCACHED_SERVER"]


def fetch(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        return error.code, b""


NGINX = """
daemon off;
master_process off;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream cache {{ server {server}; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            set $memcached_key "ng:$uri";
            memcached_pass cache;
            memcached_gzip_flag 2;
        }}
    }}
}}
"""


def nginx():
    store = Client(SERVER, timeout=10)
    page = os.urandom(300000)
    store.set("ng:/page", page, noreply=False)
    store.set("ng:/empty", b"", noreply=False)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        port = free_port()
        Path(folder, "nginx.conf").write_text(NGINX.format(folder=folder, server=SERVER, port=port))
        front = WebServer(["nginx", "-e", f"{folder}/error.log", "-c", f"{folder}/nginx.conf"], folder, port=port)
        try:
            for _ in range(20):
                check(fetch(port, "/page") == (200, page), "nginx: a page from the cache")
                check(fetch(port, "/empty") == (200, b""), "nginx: an empty page")
                check(fetch(port, "/missing")[0] == 404, "nginx: a page that is not there")
        finally:
            front.stop()
    print("  nginx: pages from the cache right")


TWEMPROXY = """
pool:
  listen: 127.0.0.1:{port}
  hash: fnv1a_64
  distribution: ketama
  timeout: 5000
  preconnect: true
  auto_eject_hosts: false
  servers:
   - {server}:1 here
"""


def twemproxy():
    with tempfile.TemporaryDirectory() as folder:
        port, stats = free_port(), free_port()
        Path(folder, "pool.yml").write_text(TWEMPROXY.format(server=SERVER, port=port))
        command = ["nutcracker", "-c", "pool.yml", "-s", str(stats), "-a", "127.0.0.1", "-o", f"{folder}/log"]
        front = WebServer(command, folder, port=port)
        try:
            client = Client(("127.0.0.1", port), timeout=10)
            check(client.set("tw:a", b"1", noreply=False) and client.get("tw:a") == b"1", "twemproxy: set, get")
            check(client.get("tw:missing") is None and not client.add("tw:a", b"2", noreply=False), "twemproxy: miss, add")
            check(client.append("tw:a", b"0", noreply=False) and client.incr("tw:a", 5) == 15, "twemproxy: append, incr")
            value, cas = client.gets("tw:a")
            check(client.cas("tw:a", b"x", cas, noreply=False) is True, "twemproxy: cas")
            check(client.touch("tw:a", 100, noreply=False), "twemproxy: touch")
            many = {f"tw:many:{number}": b"x" * number for number in range(300)}
            for name, value in many.items():
                client.set(name, value, noreply=False)
            check(client.get_many(list(many)) == many, "twemproxy: get of many")
            large = os.urandom(500000)
            client.set("tw:large", large, noreply=False)
            check(client.get("tw:large") == large, "twemproxy: large value")
            check(client.delete("tw:a", noreply=False) and client.get("tw:a") is None, "twemproxy: delete")
        finally:
            front.stop()
    print("  twemproxy: all operations right")


nginx()
twemproxy()
