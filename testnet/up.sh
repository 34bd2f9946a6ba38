#!/usr/bin/env bash
# Builds Sotto and starts fifty service nodes on this machine, each its own process. Ctrl-C stops everything.
#
#   ./testnet/up.sh             start, or go on where the last run was stopped
#   ./testnet/up.sh --exit      start from nothing, print how long it took and what it costs, stop
#   ./testnet/up.sh --yes       install missing packages without asking
#   ./testnet/up.sh --dry-run   only say what would be installed and built
#
# Everything else goes to `sotto-testnet up`: -n 20, --seed 7, --fresh, --detach, --name lab, … (up.sh -- --help).
# A first build takes 20 to 40 minutes on two cores, most of it RocksDB, and 5 GB of disk; later ones take seconds.
set -euo pipefail
if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,10s/^# \{0,1\}//p' "$0"
    exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=testnet/setup.sh
. testnet/setup.sh
sotto_setup "$@"
programs=(sotto-node sotto-chain sotto sotto-testnet)
if $sotto_dry_run; then
    say would "build ${programs[*]} and start them"
    exit
fi
say build "${programs[*]}"
started=$SECONDS
# With an example the tests' features of all dependencies are chosen, as test.sh does: nothing is ever compiled twice.
cargo build --release --locked --bins --example echo
say build "done in $((SECONDS - started)) s"
mkdir -p testnet/bin
for program in "${programs[@]}"; do
    ln -sfn "$CARGO_TARGET_DIR/release/$program" "testnet/bin/$program"
done
[[ ${1:-} != -- ]] || shift
exec testnet/bin/sotto-testnet up "$@"
