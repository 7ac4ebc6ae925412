#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright the nightbench authors
#
# fetch.sh MANIFEST [DIR]: downloads the Debian packages of a data set manifest into DIR/debs, checks their SHA-256,
# and unpacks them below DIR/packages (default: data). Needs no root and installs nothing. What is there already is
# checked and kept, so that the second time needs no network.
set -eu

die() {
    echo "fetch.sh: $*" >&2
    exit 1
}

[ $# -eq 1 ] || [ $# -eq 2 ] || die "usage: $0 MANIFEST.json [DIR]"
manifest=$1
dir=${2:-data}

# A manifest's packages, one per line: name version bytes sha256.
packages() {
    python3 - "$manifest" <<'PYTHON'
import json, sys
keys = ("package", "version", "bytes", "sha256")
try:
    sources = json.load(open(sys.argv[1], encoding="utf-8"))["sources"]
    lines = [" ".join(str(source[key]) for key in keys) for source in sources]
except (ValueError, KeyError, TypeError) as error:
    sys.exit(f"fetch.sh: {error!r}")
print("\n".join(dict.fromkeys(lines)))
PYTHON
}

# The file apt gives a package: the epoch's colon is written %3a.
deb_file() {
    echo "$dir/debs/$1_$(echo "$2" | sed 's/:/%3a/g')_all.deb"
}

is_intact() { # file sha256
    [ -f "$1" ] && echo "$2  $1" | sha256sum --check --status
}

download() { # name version sha256
    echo "downloading $1 $2"
    if ! (cd "$dir/debs" && apt-get -q -q -o APT::Sandbox::User="$(id -un)" download "$1=$2"); then
        offered=$(apt-cache madison "$1" | awk '{ print $3 }' | sort -u | tr '\n' ' ')
        [ -n "$offered" ] || die "apt knows no package $1: run \"make deps\", or as root apt-get update, first"
        die "the manifest pins $1 $2, apt offers: $offered(Debian 12 is meant; old versions: snapshot.debian.org)"
    fi
}

[ -r "$manifest" ] || die "$manifest: cannot be read"
for tool in python3 apt-get dpkg-deb sha256sum; do
    command -v "$tool" >/dev/null || die "$tool is not installed"
done
list=$(packages) || die "$manifest: is no data set manifest"
mkdir -p "$dir/debs" "$dir/packages"

missing=""
bytes=0
while read -r name version size sha; do
    if ! is_intact "$(deb_file "$name" "$version")" "$sha"; then
        missing="$missing $name"
        bytes=$((bytes + size))
    fi
done <<LIST
$list
LIST
if [ -n "$missing" ]; then
    echo "to download, $(((bytes + 500000) / 1000000)) MB:$missing"
else
    echo "all packages are in $dir/debs"
fi

while read -r name version size sha; do
    file=$(deb_file "$name" "$version")
    if ! is_intact "$file" "$sha"; then
        rm -f "$file"
        download "$name" "$version"
        [ -f "$file" ] || die "$file: apt-get did not write it"
        is_intact "$file" "$sha" || die "$file: SHA-256 is $(sha256sum <"$file" | cut -c1-64), the manifest pins $sha"
    fi
    mark="$dir/packages/$name/.deb-sha256"
    if [ "$(cat "$mark" 2>/dev/null)" != "$sha" ]; then
        rm -rf "$dir/packages/$name"
        dpkg-deb -x "$file" "$dir/packages/$name"
        echo "$sha" >"$mark"
    fi
done <<LIST
$list
LIST
echo "unpacked below $dir/packages"
