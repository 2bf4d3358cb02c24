#!/usr/bin/env bash
# Shows Tidegate at work on this machine: installs what is missing, builds, and runs `tidegate demo`, which starts everything
# it needs privately and leaves nothing running. usage: bash deploy/demo.sh [--once] [--all] [--records NUMBER]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/packages.sh
PATH=$PATH:/usr/local/sbin:/usr/sbin # where servers are, and a user's PATH may not be

if ! command -v cargo >/dev/null; then
  [ ! -f "$HOME/.cargo/env" ] || . "$HOME/.cargo/env"
fi
if ! command -v cargo >/dev/null; then
  echo "error: the demo is built from source, and there is no cargo; install Rust first: https://rustup.rs" >&2
  exit 1
fi

need cc build-essential
need redis-server redis-server
need haproxy haproxy
for argument in "$@"; do
  if [ "$argument" = --all ]; then
    need "/usr/lib/postgresql/*/bin/postgres" postgresql
    need mariadbd mariadb-server
  fi
done
install_missing

echo "building (the first time takes some minutes)"
cargo build --release --locked --quiet
exec target/release/tidegate demo "$@"
