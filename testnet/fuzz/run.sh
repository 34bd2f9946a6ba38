#!/usr/bin/env bash
# Fuzzes with coverage: every target, or those that are named, one after the other. Ends with a table, and with 1 when
# something was found.
#
#   ./testnet/fuzz/run.sh [--seconds N | --runs N] [--asan] [--list] [TARGET…]
#
#   --seconds N   so long for each target (default: 60)
#   --runs N      so many inputs for each target
#   --asan        with the address sanitizer: slower, finds what unsafe code of dependencies does
#   --list        the targets
#
# What was found to be new is kept in $XDG_CACHE_HOME/sotto/fuzz and taken up by the next run; an input that found
# something is put beside it, and belongs into testnet/fuzz/corpus/<target>/ once it is mended.
set -euo pipefail

usage() { sed -n '2,14s/^# \{0,1\}//p' "$0"; }

# wrong MESSAGE: the arguments make no sense.
wrong() {
    printf 'sotto: %s\n  → %s --help\n' "$1" "$0" >&2
    exit 2
}

# number NAME VALUE: VALUE, if it is a whole number above 0.
number() {
    [[ $2 =~ ^[1-9][0-9]{0,8}$ ]] || wrong "$1 wants a whole number above 0, not \"$2\"."
    printf '%s' "$2"
}

limit=() sanitizer=none list=false wanted=()
while (($# > 0)); do
    case $1 in
        -h | --help)
            usage
            exit
            ;;
        --seconds | --runs)
            ((${#limit[@]} == 0)) || wrong "one of --seconds and --runs, once."
            amount=$(number "$1" "${2:-}")
            if [[ $1 == --seconds ]]; then limit=("-max_total_time=$amount"); else limit=("-runs=$amount"); fi
            shift
            ;;
        --asan) sanitizer=address ;;
        --list) list=true ;;
        -*) wrong "there is no option $1." ;;
        *) wanted+=("$1") ;;
    esac
    shift
done
((${#limit[@]} > 0)) || limit=(-max_total_time=60)

cd "$(dirname "${BASH_SOURCE[0]}")/../.."
# shellcheck source=testnet/setup.sh
. testnet/setup.sh
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$sotto_cache/target}
work=$sotto_cache/fuzz
# All of setup.sh but RocksDB: nothing that is fuzzed has a database.
check_packages
check_cargo
target_dir=$CARGO_TARGET_DIR/fuzz-$sanitizer
host=$(rustc -vV | awk '$1 == "host:" { print $2 }')
any=$target_dir/$host/release/any

if ! cargo fuzz --version >/dev/null 2>&1; then
    say cargo-fuzz "is not here: cargo install --locked cargo-fuzz"
    cargo install --locked cargo-fuzz >&2 || fail "cargo-fuzz could not be installed."
fi
say build "into $target_dir, sanitizer: $sanitizer"
# The options that coverage needs are of the nightly compiler; this lets the stable one take them.
RUSTC_BOOTSTRAP=1 cargo fuzz build --fuzz-dir testnet/fuzz/libfuzzer --sanitizer "$sanitizer" \
    --target-dir "$target_dir" any >&2 || fail "the build failed."

declare -A longest=()
targets=()
while read -r name length; do
    targets+=("$name")
    longest[$name]=$length
done < <(FUZZ_TARGET=list "$any" 2>/dev/null)
((${#targets[@]} > 0)) || fail "$any names no targets."
if $list; then
    printf '%s\n' "${targets[@]}"
    exit
fi
for name in "${wanted[@]+"${wanted[@]}"}"; do
    [[ -n ${longest[$name]:-} ]] || wrong "there is no target \"$name\"; --list shows all."
done
((${#wanted[@]} == 0)) || targets=("${wanted[@]}")

log=$(mktemp)
trap 'rm -f "$log"' EXIT

# statistic NAME: what libFuzzer says of it at the end.
statistic() { awk -v name="stat::$1:" '$1 == name { value = $2 } END { print value + 0 }' "$log"; }

findings=0
rows=()
for name in "${targets[@]}"; do
    corpus=$work/$name/corpus found=$work/$name/found
    mkdir -p "$corpus" "$found"
    FUZZ_TARGET=$name FUZZ_SEEDS=$work/$name/seeds "$any" >"$log" 2>&1 || fail "$name has no seeds: $(tail -n 1 "$log")"
    inputs=("$corpus" "$work/$name/seeds")
    [[ ! -d testnet/fuzz/corpus/$name ]] || inputs+=("testnet/fuzz/corpus/$name")
    say "$name" "since $(date +%T)"
    status=0
    touch "$found/.begin"
    FUZZ_TARGET=$name "$any" "${inputs[@]}" "${limit[@]}" -max_len="${longest[$name]}" -timeout=20 -rss_limit_mb=2048 \
        -print_final_stats=1 -artifact_prefix="$found/" >"$log" 2>&1 || status=$?
    new=$(find "$found" -type f -newer "$found/.begin" ! -name .begin)
    count=$(printf '%s' "$new" | grep -c . || true)
    if ((status != 0 || count > 0)); then
        ((count > 0)) || count=1
        findings=$((findings + count))
        say "$name" "FOUND something (exit status $status):"
        grep -aE "panicked at|does not|ERROR: libFuzzer|SUMMARY" -A 2 "$log" | head -n 12 >&2 || true
        printf '%s\n' "$new" >&2
    fi
    coverage=$(grep -aoE ' cov: [0-9]+' "$log" | awk '{ value = $2 } END { print value + 0 }')
    slowest=$(awk '$1 == "slowest:" { value = $2 } END { printf (value ? "%.1f" : "<%.1f"), (value ? value : 1000) / 1000 }' "$log")
    rows+=("$(printf '%-16s %12d %9d %9d %11s %9d' "$name" "$(statistic number_of_executed_units)" \
        "$(statistic average_exec_per_sec)" "$coverage" "$slowest" "$count")")
done

printf '\n%-16s %12s %9s %9s %11s %9s\n' target executions exec/s coverage "slowest ms" findings
printf '%s\n' "${rows[@]}"
printf '\n%d findings in %d targets\n' "$findings" "${#targets[@]}"
((findings == 0))
