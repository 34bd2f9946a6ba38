#!/usr/bin/env bash
# What building Sotto needs on this machine: checks it, names and installs what is missing, and compiles RocksDB once.
#
#   ./testnet/setup.sh [--yes] [--dry-run]    up.sh and test.sh do this first
#   eval "$(./testnet/setup.sh --env)"        for cargo by hand: the same target directory, RocksDB from the cache
#
# RocksDB is 343 C++ files and most of a first build. Its archive is therefore kept outside of the target directory,
# by version of crate and compiler, and taken from there for any profile, feature set and target directory.

sotto_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
sotto_cache=${XDG_CACHE_HOME:-$HOME/.cache}/sotto

readonly SOTTO_PACKAGES="build-essential pkg-config libclang-dev libssl-dev ca-certificates"
readonly SOTTO_ROCKSDB_OBJECTS=343
readonly SOTTO_FIRST_BUILD_KB=$((6 * 1024 * 1024)) SOTTO_LATER_BUILD_KB=$((1024 * 1024)) SOTTO_RAM_KB=$((3 * 1000 * 1000))

sotto_yes=false
sotto_dry_run=false

say() { printf ' %-9s %s\n' "$1" "$2" >&2; }

# fail REASON [WHAT TO DO]
fail() {
    printf 'sotto: %s\n' "$1" >&2
    [[ $# -lt 2 ]] || printf '  %s\n' "$2" >&2
    exit 1
}

on_terminal() { [[ -t 0 && -t 2 ]]; }

# agree QUESTION LINE: yes by --yes or by the user; otherwise stops with the line to paste.
agree() {
    $sotto_yes && return
    on_terminal || fail "$1 Nobody to ask, and no --yes." "to do it yourself: $2"
    local answer
    read -r -p "sotto: $1 [Y/n] " answer
    [[ $answer == "" || $answer == [Yy]* ]] || fail "not done." "to do it yourself: $2"
}

# run COMMAND…: does it, or says in a dry run what would be done.
run() {
    if $sotto_dry_run; then
        say would "run: $*"
    else
        "$@"
    fi
}

# at_least WANTED VERSION
at_least() { printf '%s\n%s\n' "$1" "$2" | sort -V -C; }

check_machine() {
    local system machine free_kb ram_kb need_kb existing
    system=$(uname -s) machine=$(uname -m)
    [[ $system == Linux && ($machine == x86_64 || $machine == aarch64) ]] ||
        fail "Linux on x86_64 or aarch64 is needed; this is $system on $machine."
    existing=$CARGO_TARGET_DIR
    while [[ ! -d $existing ]]; do existing=$(dirname "$existing"); done
    need_kb=$SOTTO_FIRST_BUILD_KB
    [[ ! -e $CARGO_TARGET_DIR/release/sotto-node ]] || need_kb=$SOTTO_LATER_BUILD_KB
    free_kb=$(df -Pk "$existing" | awk 'NR == 2 { print $4 }')
    ((free_kb >= need_kb)) ||
        fail "$((need_kb / 1024 / 1024)) GB free needed in $existing; there are $((free_kb / 1024)) MB." \
            "export CARGO_TARGET_DIR=/somewhere/larger"
    ram_kb=$(awk '$1 == "MemTotal:" { print $2 }' "${SOTTO_MEMINFO:-/proc/meminfo}")
    ((ram_kb >= SOTTO_RAM_KB)) || fail "3 GB of memory are needed; there are $((ram_kb / 1024)) MB."
    say machine "$system $machine, $(nproc) cores, $((ram_kb / 1024 / 1024)) GB memory, $((free_kb / 1024 / 1024)) GB free"
}

# apt_install PACKAGE…
apt_install() {
    local line="apt-get install -y --no-install-recommends $*" as_root=()
    if [[ $(id -u) -ne 0 ]]; then
        command -v sudo >/dev/null || fail "missing: $*" "as root: apt-get update && $line"
        if ! $sotto_dry_run; then
            agree "Install with sudo: $*?" "sudo apt-get update && sudo $line"
            on_terminal || sudo -n true 2>/dev/null ||
                fail "missing: $*; sudo wants a password." "sudo apt-get update && sudo $line"
        fi
        as_root=(sudo)
    fi
    as_root+=(env DEBIAN_FRONTEND=noninteractive)
    if $sotto_dry_run; then
        say would "run: ${as_root[*]} $line"
        return
    fi
    # shellcheck disable=SC2086 # the line is words
    "${as_root[@]}" $line >&2 || { "${as_root[@]}" apt-get update >&2 && "${as_root[@]}" $line >&2; } ||
        fail "apt-get could not install: $*"
}

check_packages() {
    local package missing=() version
    if command -v dpkg-query >/dev/null; then
        for package in $SOTTO_PACKAGES; do
            [[ $(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
        done
        if ((${#missing[@]} > 0)); then
            say packages "missing: ${missing[*]}"
            apt_install "${missing[@]}"
            ! $sotto_dry_run || return 0
        else
            say packages "all there: $SOTTO_PACKAGES"
        fi
    else
        say packages "no Debian or Ubuntu: this needs g++, pkg-config, libclang and the headers of OpenSSL"
    fi
    command -v g++ >/dev/null || fail "there is no g++."
    version=$(g++ -dumpfullversion -dumpversion)
    at_least 11 "$version" || fail "g++ 11 or newer is needed; this is $version."
}

# The version of the first cargo in PATH; nothing when there is none.
cargo_version() { (cd "$sotto_root" && cargo --version 2>/dev/null || true) | awk '{ print $2 }'; }

check_cargo() {
    local wanted have cargo_home=${CARGO_HOME:-$HOME/.cargo}
    wanted=$(awk -F'"' '/^rust-version/ { print $2; exit }' "$sotto_root/Cargo.toml")
    if ! command -v cargo >/dev/null && [[ -x $cargo_home/bin/cargo ]]; then
        export PATH="$cargo_home/bin:$PATH"
    fi
    have=$(cargo_version)
    if [[ -n $have ]] && at_least "$wanted" "$have"; then
        say cargo "$have"
        return
    fi
    say cargo "${have:-none} here, $wanted or newer is needed"
    if ! command -v rustup >/dev/null && apt-cache policy rustup 2>/dev/null | grep -q 'Candidate: [0-9]'; then
        apt_install rustup
        if $sotto_dry_run; then
            say would "run: rustup toolchain install stable --profile minimal"
            return
        fi
    fi
    if command -v rustup >/dev/null; then
        local install="rustup toolchain install stable --profile minimal"
        if ! $sotto_dry_run; then
            agree "Download Rust's stable toolchain?" "$install"
        fi
        # shellcheck disable=SC2086 # the line is words
        run $install
        export RUSTUP_TOOLCHAIN=stable
    else
        install_rustup "$cargo_home"
    fi
    $sotto_dry_run || at_least "$wanted" "$(cargo_version)" || fail "cargo is still older than $wanted."
}

# The official installer, over the network, only with the user's consent.
install_rustup() {
    local line="curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal"
    if $sotto_dry_run; then
        command -v curl >/dev/null || apt_install curl
        say would "run: $line"
        return
    fi
    agree "Rust is not packaged here. Run its installer from https://sh.rustup.rs?" "$line"
    command -v curl >/dev/null || apt_install curl
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --profile minimal >&2 ||
        fail "Rust's installer failed."
    export PATH="$1/bin:$PATH"
}

# Where the archive of RocksDB is kept; nothing when that cannot be told yet.
rocksdb_directory() {
    local crate level compiler
    crate=$(awk -F'"' '$0 == "name = \"librocksdb-sys\"" { getline; print $2; exit }' "$sotto_root/Cargo.lock")
    level=$(awk '/^\[profile\.release\.package\.librocksdb-sys\]/ { getline; gsub(/[^0-9a-z]/, "", $3); print $3; exit }' \
        "$sotto_root/Cargo.toml")
    compiler=$(g++ -dumpfullversion -dumpversion 2>/dev/null) || return 0
    [[ -z $crate ]] || printf '%s/rocksdb-%s-O%s-%s' "$sotto_cache" "$crate" "$level" "$compiler"
}

use_rocksdb() { export ROCKSDB_LIB_DIR=$1 ROCKSDB_STATIC=1; }

prepare_rocksdb() {
    if [[ -n ${ROCKSDB_LIB_DIR:-} ]]; then
        say rocksdb "from ROCKSDB_LIB_DIR=$ROCKSDB_LIB_DIR"
        return
    fi
    local directory
    directory=$(rocksdb_directory)
    if [[ -f $directory/librocksdb.a ]]; then
        say rocksdb "from $directory"
    elif $sotto_dry_run; then
        say would "compile RocksDB once: $SOTTO_ROCKSDB_OBJECTS C++ files, about $(rocksdb_minutes) minutes"
        return
    else
        compile_rocksdb "$directory"
    fi
    use_rocksdb "$directory"
}

# 25 minutes of one core [measured], spread over all.
rocksdb_minutes() { echo $((25 / $(nproc) + 1)); }

# Compiles librocksdb-sys alone, before ROCKSDB_LIB_DIR is set, and keeps the archive: everything else is built after
# that with the same environment as ever after, so nothing is built twice.
compile_rocksdb() {
    local directory=$1 messages started=$SECONDS reporter built status=0
    say rocksdb "once per machine: $SOTTO_ROCKSDB_OBJECTS C++ files, about $(rocksdb_minutes) minutes on $(nproc) idle cores"
    mkdir -p "$directory" "$CARGO_TARGET_DIR"
    messages=$(mktemp "$directory/messages.XXXXXX")
    report_objects "$messages" "$started" &
    reporter=$!
    (cd "$sotto_root" && cargo build --release --locked --quiet -p librocksdb-sys --message-format json-render-diagnostics) \
        >"$messages" || status=$?
    kill "$reporter" 2>/dev/null || true
    wait "$reporter" 2>/dev/null || true
    built=$(sed -n '/"reason":"build-script-executed"/{/librocksdb-sys/s/.*"out_dir":"\([^"]*\)".*/\1/p}' "$messages" | tail -n 1)
    rm -f "$messages"
    ((status == 0)) || fail "RocksDB could not be compiled."
    [[ -f $built/librocksdb.a ]] || fail "cargo did not say where RocksDB's archive is."
    cp "$built/librocksdb.a" "$directory/librocksdb.a.$$"
    mv "$directory/librocksdb.a.$$" "$directory/librocksdb.a"
    say rocksdb "compiled in $(((SECONDS - started) / 60)) min $(((SECONDS - started) % 60)) s, kept in $directory"
}

# report_objects SINCE STARTED: tells how many objects are done, until the script that started it is gone.
report_objects() {
    local done_objects shown=-1 script=$$
    while kill -0 "$script" 2>/dev/null; do
        done_objects=$(find "$CARGO_TARGET_DIR"/release/build/librocksdb-sys-*/out -name '*.o' -newer "$1" 2>/dev/null | wc -l)
        if [[ -t 2 ]]; then
            printf '\r rocksdb   %d/%d objects, %d s ' "$done_objects" "$SOTTO_ROCKSDB_OBJECTS" $((SECONDS - $2)) >&2
        elif ((done_objects / 20 != shown)); then
            shown=$((done_objects / 20))
            say rocksdb "$done_objects/$SOTTO_ROCKSDB_OBJECTS objects, $((SECONDS - $2)) s"
        fi
        sleep 2
    done
}

# sotto_setup [--yes|-y] [--dry-run] […]: everything above; other arguments are left to the caller.
sotto_setup() {
    local argument
    for argument in "$@"; do
        case $argument in
            --yes | -y) sotto_yes=true ;;
            --dry-run) sotto_dry_run=true ;;
        esac
    done
    export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$sotto_cache/target}
    check_machine
    check_packages
    check_cargo
    prepare_rocksdb
}

# The environment that sotto_setup makes, as commands for a shell; nothing is checked or built.
print_environment() {
    local directory
    directory=$(rocksdb_directory)
    printf 'export CARGO_TARGET_DIR=%q\n' "${CARGO_TARGET_DIR:-$sotto_cache/target}"
    [[ ! -f $directory/librocksdb.a ]] || printf 'export ROCKSDB_LIB_DIR=%q ROCKSDB_STATIC=1\n' "$directory"
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    set -euo pipefail
    case ${1:-} in
        --env) print_environment ;;
        -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0" ;;
        *) sotto_setup "$@" ;;
    esac
fi
