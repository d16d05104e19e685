#!/bin/sh
# Installs nvbind: from an archive of a release, from such an archive's unpacked folder, or from source in a clone.
# What is installed, and where, is what `nvbind setup` does; this script only gets at the program that does it.
set -eu
umask 022

usage() {
    cat <<'END'
usage: install.sh [OPTIONS] [--sha256 SUM] [ARCHIVE]

ARCHIVE is a release's archive, a file or an https address. It is used only if its SHA-256 checksum is SUM, or without
--sha256 the one in ARCHIVE.sha256 beside it. Without ARCHIVE what is installed is what this script lies in: an unpacked
archive, or a clone, which is built with cargo.

  --prefix DIR        install below DIR instead of /usr/local
  --user              install for this user's own containers, below ~/.local
  --visible-devices   also take NVIDIA_VISIBLE_DEVICES for a request
  --uninstall         remove what was installed with the same --prefix or --user
  --sha256 SUM        the archive's checksum
  --help              show this
END
}

fail() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

have() {
    command -v "$1" >/dev/null 2>&1
}

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
folder=
remove() {
    [ -z "$folder" ] || rm -rf -- "$folder"
}
trap remove EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# download URL FILE
download() {
    if have curl; then
        curl --fail --silent --show-error --location --proto '=https' --output "$2" -- "$1" ||
            fail "cannot download $1"
    elif have wget; then
        wget --quiet --https-only --output-document="$2" -- "$1" || fail "cannot download $1"
    else
        fail "to download $1 curl or wget is needed: install one, or give a file"
    fi
}

# check FILE NAME: whether the file is what was meant
check() {
    expected=$sum
    if [ -z "$expected" ]; then
        [ -f "$1.sha256" ] || fail "there is no $2.sha256: give the checksum by --sha256 SUM"
        read -r expected _ <"$1.sha256" || [ -n "$expected" ] || fail "$2.sha256 is empty"
    fi
    found=$(sha256sum <"$1")
    found=${found%% *}
    [ "$found" = "$(printf %s "$expected" | tr A-F a-f)" ] ||
        fail "$2 has the SHA-256 checksum $found, not $expected: nothing is installed"
}

# unpack ARCHIVE: sets program
unpack() {
    have sha256sum || fail "sha256sum is needed to check the archive"
    folder=$(mktemp -d)
    case $1 in
    https://*)
        file=$folder/archive
        download "$1" "$file"
        [ -n "$sum" ] || download "$1.sha256" "$file.sha256"
        ;;
    *://*) fail "$1: an archive is downloaded by https alone" ;;
    *)
        file=$1
        [ -f "$file" ] || fail "there is no file $file"
        ;;
    esac
    check "$file" "$1"
    mkdir "$folder/content"
    tar -xzf "$file" -C "$folder/content" || fail "cannot unpack $1"
    for program in "$folder"/content/*/bin/nvbind; do
        [ -x "$program" ] || fail "$1 is no archive of nvbind"
    done
}

# build: sets program
build() {
    have cargo || fail "cargo is not in PATH: build as the user who has it (cargo build --release), then run $here/target/release/nvbind setup"
    (cd "$here" && cargo build --release --locked) || fail "the build failed"
    program=${CARGO_TARGET_DIR:-$here/target}/release/nvbind
}

archive='' sum='' prefix='' user='' visible='' uninstall=''
while [ $# -gt 0 ]; do
    case $1 in
    --prefix | --sha256)
        [ $# -gt 1 ] || fail "$1 needs a value"
        case $1 in
        --prefix) prefix=$2 ;;
        --sha256) sum=$2 ;;
        esac
        shift
        ;;
    --prefix=*) prefix=${1#*=} ;;
    --sha256=*) sum=${1#*=} ;;
    --user) user=1 ;;
    --visible-devices) visible=1 ;;
    --uninstall) uninstall=1 ;;
    --help)
        usage
        exit
        ;;
    -*) fail "unknown option $1; there is --help" ;;
    *)
        [ -z "$archive" ] || fail "there is one archive, and not also $1"
        archive=$1
        ;;
    esac
    shift
done
[ -z "$sum" ] || [ -n "$archive" ] || fail "--sha256 is of an archive, and none is given"

if [ -n "$uninstall" ]; then
    default=/usr/local
    [ -z "$user" ] || default=$HOME/.local
    program=${prefix:-$default}/bin/nvbind
    [ -x "$program" ] || fail "there is no $program: nothing to remove"
elif [ -n "$archive" ]; then
    unpack "$archive"
elif [ -x "$here/bin/nvbind" ]; then
    program=$here/bin/nvbind
elif [ -f "$here/Cargo.toml" ]; then
    build
else
    fail "there is neither a release nor nvbind's source in $here: give an archive"
fi

set -- setup
[ -z "$prefix" ] || set -- "$@" --prefix "$prefix"
[ -z "$user" ] || set -- "$@" --user
[ -z "$visible" ] || set -- "$@" --visible-devices
[ -z "$uninstall" ] || set -- "$@" --uninstall
# No exec: the folder that the archive was unpacked into is removed at the end.
"$program" "$@"
