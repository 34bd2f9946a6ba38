#!/usr/bin/env bash
# Simulates whole networks of nodes and clients in virtual time, under faults drawn from a seed, and checks that nothing
# acknowledged is lost. `test.sh` simulates a thousand small ones; this is for more, larger and single ones:
#
#   ./testnet/simulate.sh --nodes 50 --clients 12 --seeds 20    fifty nodes
#   ./testnet/simulate.sh --from 2000 --seeds 10000             other seeds
#   ./testnet/simulate.sh --seed 17 --trace                     one of them, and all that happened in it
#   ./testnet/simulate.sh --bugs                                whether it finds mistakes made on purpose
set -euo pipefail
if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,8s/^# \{0,1\}//p' "$0"
    exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=testnet/setup.sh
. testnet/setup.sh
sotto_setup
exec cargo test --release --locked --quiet --test sim -- "$@"
