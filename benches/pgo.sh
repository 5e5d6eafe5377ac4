#!/usr/bin/env bash
# Builds memhold twice: once counting which way its branches go, while `memhold bench` puts load on it; then with these counts.
# Prints the path of the result. Needs an llvm-profdata of the version of rustc's LLVM: `rustup component add llvm-tools`, or
# `apt-get install llvm-NN`.
set -euo pipefail
cd "$(dirname "$0")/.."

host=$(rustc -vV | sed -n 's/^host: //p')
version=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
profdata=$(rustc --print sysroot)/lib/rustlib/$host/bin/llvm-profdata
for tool in "$profdata" "/usr/lib/llvm-$version/bin/llvm-profdata"; do
  [[ -x $tool ]] && profdata=$tool
done
if [[ ! -x $profdata ]]; then
  echo "no llvm-profdata of version $version: rustup component add llvm-tools, or apt-get install llvm-$version" >&2
  exit 1
fi

target=${CARGO_TARGET_DIR:-target}
counts=$(mktemp -d)
server=
finish() {
  [[ -z $server ]] || kill "$server" 2>/dev/null || true
  rm -rf "$counts"
}
trap finish EXIT

# --target keeps the flags from build scripts.
build() { RUSTFLAGS=$1 cargo build --quiet --release --bin memhold --target "$host" --target-dir "$target/pgo"; }
binary=$target/pgo/$host/release/memhold

build "-Cprofile-generate=$counts"
# The server's counts are wanted, not those of the client, which is the same program.
socket=$counts/socket
LLVM_PROFILE_FILE=$counts/server-%p.profraw "$binary" -u "$(id -un)" -s "$socket" -t 2 -m 256 &
server=$!
for _ in {1..100}; do
  [[ -S $socket ]] && break
  sleep 0.1
done
train() { LLVM_PROFILE_FILE=/dev/null "$binary" bench --server "$socket" --seconds 2 "$@" >/dev/null; }
for protocol in text meta binary; do
  train --protocol $protocol
  train --protocol $protocol --pipeline 16 --sets 30 --touches 5 --incrs 10 --deletes 5 --misses 10
  train --protocol $protocol --multiget 100
  train --protocol $protocol --value-size 100000 --keys 500 --connections 10 --sets 50
done
# More than fits: evictions, and misses.
train --pipeline 16 --keys 3000000 --skew 0.5 --sets 30
kill "$server"
wait "$server" || true
server=
"$profdata" merge -o "$counts/memhold.profdata" "$counts"/server-*.profraw
build "-Cprofile-use=$counts/memhold.profdata -Cllvm-args=-pgo-warn-missing-function"
echo "$binary"
