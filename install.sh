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

  --sha256 SUM   the archive's checksum
  --uninstall    remove what was installed with the same --prefix or --user
  --help         show this

The other options are those of nvbind setup: --prefix DIR, --user, --visible-devices, --cdi, --cdi-names, --replace, --docker,
--driver-root DIR, --device-group GROUP, --device-mode MODE, --etc, --dry-run.
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

# The options for nvbind setup are moved behind the words that are left to read.
archive='' sum='' prefix=/usr/local uninstall='' left=$#
while [ "$left" -gt 0 ]; do
    word=$1
    shift
    left=$((left - 1))
    case $word in
    --sha256 | --prefix | --driver-root | --device-group | --device-mode)
        [ "$left" -gt 0 ] || fail "$word needs a value"
        word=$word=$1
        shift
        left=$((left - 1))
        ;;
    esac
    case $word in
    --sha256=*)
        sum=${word#*=}
        continue
        ;;
    --prefix=*) prefix=${word#*=} ;;
    --user) [ "$prefix" != /usr/local ] || prefix=${HOME-}/.local ;;
    --uninstall) uninstall=1 ;;
    --driver-root=* | --device-group=* | --device-mode=* | --visible-devices | --etc | --dry-run) ;;
    --cdi | --cdi-names | --replace | --docker) ;;
    --help)
        usage
        exit
        ;;
    -*) fail "unknown option $word; there is --help" ;;
    *)
        [ -z "$archive" ] || fail "there is one archive, and not also $word"
        archive=$word
        continue
        ;;
    esac
    set -- "$@" "$word"
done
[ -z "$sum" ] || [ -n "$archive" ] || fail "--sha256 is of an archive, and none is given"

if [ -n "$uninstall" ]; then
    program=$prefix/bin/nvbind
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

# No exec: the folder that the archive was unpacked into is removed at the end.
"$program" setup "$@"
