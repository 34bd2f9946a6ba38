#!/usr/bin/env bash
# All of Sotto's tests: rules, codecs, hosts in memory, the directions between crates, a thousand simulated networks, and
# whole processes on a real testnet of fifty nodes. Ends with the line "N passed, N failed"; exits with 1 when anything failed.
#
#   ./testnet/test.sh [--yes] [--dry-run]
#
# Minutes once everything is built; a first build takes 30 to 60 on two cores.
set -euo pipefail
if [[ ${1:-} == --help || ${1:-} == -h ]]; then
    sed -n '2,7s/^# \{0,1\}//p' "$0"
    exit
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=testnet/setup.sh
. testnet/setup.sh
sotto_setup "$@"
if $sotto_dry_run; then
    say would "build everything with its tests and run them"
    exit
fi

# Only root can cut links between nodes, slow them down or have their syncs fail, and clocks need libfaketime; without, those
# tests are skipped, and say so. Where CI is set they fail instead.
if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null &&
    ! { command -v nft && command -v tc && command -v strace && command -v faketime; } >/dev/null; then
    apt_install nftables iproute2 strace faketime
fi

# The client in Python is tested by running it.
command -v python3 >/dev/null || apt_install python3

passed=0
failed=0
failures=()
log=$(mktemp)
# Tests that cannot be run here pass, and say so in this file: a line each.
SOTTO_SKIPPED=$(mktemp)
export SOTTO_SKIPPED
trap 'rm -f "$log" "$SOTTO_SKIPPED"' EXIT

section() { printf '\n== %s (%d s)\n' "$1" "$SECONDS"; }

# check NAME COMMAND…: one test; its output is shown when it fails.
check() {
    local name=$1
    shift
    if "$@" >"$log" 2>&1; then
        printf 'ok      %s\n' "$name"
        passed=$((passed + 1))
    else
        printf 'FAILED  %s\n' "$name"
        sed 's/^/        /' "$log"
        note_failure "$name"
    fi
}

note_failure() {
    failed=$((failed + 1))
    failures+=("$1")
}

# count NAME STATUS: adds up what a test runner says in the log; a runner that ends badly without a failed test is one.
count() {
    local good bad
    read -r good bad < <(
        sed 's/\x1b\[[0-9;]*m//g' "$log" | awk '
            /^test result:/ { good += $4; bad += $6 }
            /^ *Summary \[/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) good += $(i - 1)
                                                          if ($i ~ /^(failed|timed)/) bad += $(i - 1) } }
            END { print good + 0, bad + 0 }'
    )
    passed=$((passed + good))
    failed=$((failed + bad))
    if ((bad > 0)); then
        failures+=("$1: $bad tests")
    elif (($2 != 0)); then
        note_failure "$1 (exit status $2)"
    fi
}

# suite NAME COMMAND…: many tests; their runner's output is shown as it comes.
suite() {
    local name=$1 status=0
    shift
    section "$name"
    "$@" 2>&1 | tee "$log" || status=$?
    count "$name" "$status"
}

# depends_on PACKAGE PATTERN [CARGO TREE OPTIONS]: is there a dependency whose name matches?
depends_on() {
    local package=$1 pattern=$2
    shift 2
    cargo tree --locked -p "$package" -e normal,build --prefix none --format '{p}' "$@" | awk '{ print $1 }' | sort -u |
        grep -Ex "$pattern"
}

independent() {
    local tree status=0
    # A tree that cannot be drawn proves nothing.
    cargo tree --locked -p "$1" --depth 0 >/dev/null || return 1
    tree=$(depends_on "$@") || status=$?
    printf '%s\n' "$tree"
    ((status == 1))
}

no_unfinished_code() { ! grep -rnE '\b(todo|unimplemented)!\(' --include='*.rs' -- */src; }

section "build"
artifacts=$(mktemp)
if cargo build --release --locked --bins --tests --message-format json-render-diagnostics >"$artifacts"; then
    say build "done after $SECONDS s"
else
    rm -f "$artifacts"
    printf '\nthe build failed\n\n0 passed, 1 failed\n'
    exit 1
fi
# built PATH: the program that was made of a test's main file.
built() { sed -n "\\;$1;s;.*\"executable\":\"\\([^\"]*\\)\".*;\\1;p" "$artifacts" | tail -n 1; }
processes=$(built testnet/tests/it/main.rs)
simulator=$(built testnet/tests/sim/main.rs)
rm -f "$artifacts"

section "source"
for script in testnet/*.sh testnet/fuzz/*.sh .ci/run; do
    check "$script is valid shell" bash -n "$script"
    ! command -v shellcheck >/dev/null || check "$script passes shellcheck" shellcheck -x "$script"
done
! cargo fmt --version >/dev/null 2>&1 || check "the code is formatted" cargo fmt --all -- --check -l
check "no code is left for later" no_unfinished_code
check "the generated protobuf code is up to date" cargo run --quiet --release --locked -p sotto-proto-gen -- --check
if cargo clippy --version >/dev/null 2>&1; then
    check "clippy has nothing to say" cargo clippy --quiet --release --locked --all-targets -- -D warnings
fi
! cargo deny --version >/dev/null 2>&1 || check "licences and sources of dependencies" cargo deny --offline check bans licenses sources

section "directions between crates"
check "proto has no async, no network, no C code" independent sotto-proto '(tokio|async-.*|futures|libp2p.*|.*-sys|cc|cmake|ring)'
check "proto depends on no other crate of ours" independent sotto-proto 'sotto-(behaviours|chain|node|client|testnet)'
check "behaviours does not know the chain" independent sotto-behaviours 'sotto-(chain|node|client|testnet)'
check "the chain's state machine has no network" independent sotto-chain '(tokio|libp2p.*|sotto-behaviours|.*-sys)' --no-default-features
check "node does not know the client" independent sotto-node 'sotto-(client|testnet)'
check "client does not know the node or the chain" independent sotto-client 'sotto-(node|chain|testnet)'
check "node without its database needs no C++" independent sotto-node '(rocksdb|librocksdb-sys)' --no-default-features

if cargo nextest --version >/dev/null 2>&1; then
    suite "rules, codecs, hosts" cargo nextest run --cargo-profile release --locked
else
    suite "rules, codecs, hosts" cargo test --release --locked --no-fail-fast --workspace --exclude sotto-testnet --exclude sotto-libfuzzer --exclude sotto-peers --lib --bins --tests
    suite "launcher" cargo test --release --locked -p sotto-testnet --lib
fi
suite "examples in the documentation" cargo test --release --locked --doc
suite "simulated networks" "$simulator"
suite "whole processes" env SOTTO_BIN_DIR="$CARGO_TARGET_DIR/release" "$processes"

section "sum"
passed=$((passed - $(wc -l <"$SOTTO_SKIPPED")))
sed 's/^/skipped: /' "$SOTTO_SKIPPED"
for failure in "${failures[@]+"${failures[@]}"}"; do printf 'failed: %s\n' "$failure"; done
printf '\n%d passed, %d failed\n' "$passed" "$failed"
((failed == 0))
