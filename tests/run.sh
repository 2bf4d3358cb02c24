#!/usr/bin/env bash
# Installs what is missing and passes all tests: formatting, lints, documentation, licences, and every test against real
# servers. usage: bash tests/run.sh [name filter …]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. deploy/packages.sh
PATH=$PATH:/usr/local/sbin:/usr/sbin # where servers are, and a user's PATH may not be

say() { printf '\n== %s\n' "$*"; }

say "tools"
need redis-server redis-server
need "/usr/lib/postgresql/*/bin/postgres" postgresql
need mariadbd mariadb-server
need mariadb mariadb-client
need haproxy haproxy
need cc build-essential
need openssl openssl
# The mock of SQL Server, in tests only, is built with OpenSSL.
need /usr/include/openssl/ssl.h libssl-dev
need pkg-config pkg-config
need curl curl
need jq jq
need php php-cli
need python3 python3
need node nodejs
need wrk wrk
need chromedriver chromium-driver
need dbus-daemon dbus-daemon
install_missing
tools=$(pwd)/target/tools
export PATH="$tools/bin:$PATH"
# Ready-made builds where there are some (the wheels hold nothing but the program); otherwise from source.
tool() {
  command -v "$1" >/dev/null && return
  echo "installing $1"
  need pip3 python3-pip && install_missing
  pip3 install --quiet --no-deps --target "$tools" "astral-dev-toolchain-$1" 2>/dev/null \
    || pip3 install --quiet --no-deps --break-system-packages --target "$tools" "astral-dev-toolchain-$1" 2>/dev/null \
    || cargo install --quiet --locked --root "$tools" "$1"
}
tool cargo-nextest
tool cargo-deny

say "formatting"
cargo fmt --all --check

say "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings

say "failpoints"
# The dev-dependencies turn them on; what is built without those must not have them.
if [[ "$(cargo tree --workspace --locked -e no-dev,features -i fail)" == *'"failpoints"'* ]]; then
  echo "the feature failpoints of the crate fail is on in a build without dev-dependencies" >&2
  exit 1
fi

say "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked --quiet

say "licences, bans, sources"
cargo deny --log-level error check licenses bans sources
# The advisory database is fetched from the network; where it can't be had, that is said and not a failure.
if ! cargo deny --log-level error check advisories 2>target/advisories.log; then
  if grep -qiE 'failed to fetch|unable to (fetch|load)|network|could not (resolve|connect)|connect' target/advisories.log; then
    echo "advisories: the database could not be fetched here; not checked"
  else
    cat target/advisories.log >&2
    exit 1
  fi
fi

say "tests"
# One PostgreSQL, MariaDB and Redis serve all tests that do not break them; they live in a folder of this run and end with it.
TIDEGATE_TEST_DIR=$(mktemp -d "${TMPDIR:-/tmp}/tidegate-tests.XXXXXX")
export TIDEGATE_TEST_DIR
chmod 755 "$TIDEGATE_TEST_DIR"
stop_servers() {
  local stop
  for stop in "$TIDEGATE_TEST_DIR"/*/stop; do
    [ ! -x "$stop" ] || "$stop" >/dev/null 2>&1 || true
  done
  rm -rf "$TIDEGATE_TEST_DIR"
}
trap stop_servers EXIT
cargo nextest run --workspace --locked --no-fail-fast "$@"
cargo test --workspace --doc --locked --quiet

if [ $# -eq 0 ]; then
  say "benchmarks, in their shortest form: they run; no time is held against anything"
  cargo test --locked --quiet --bench limits -- all --short
  cargo test --locked --quiet --bench allocations -- --short
fi
