#!/bin/sh
# As the official image: with flags only, they are memcached's.
set -e

if [ "${1#-}" != "$1" ]; then
    set -- memcached "$@"
fi

exec "$@"
