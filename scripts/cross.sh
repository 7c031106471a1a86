#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Builds the default and the small binary for every board that Go and OpenWrt have in common, into
# dist/oasis6-linux-NAME[-small]. One build serves many OpenWrt architecture names.
# GO names the go command.

set -eu
cd "$(dirname "$0")/.."

# name, then the settings of the Go toolchain.
targets='
mipsle         GOARCH=mipsle GOMIPS=softfloat
mips           GOARCH=mips GOMIPS=softfloat
mips64         GOARCH=mips64 GOMIPS64=softfloat
mips64le       GOARCH=mips64le GOMIPS64=softfloat
arm5           GOARCH=arm GOARM=5
arm6           GOARCH=arm GOARM=6
arm7           GOARCH=arm GOARM=7
arm64          GOARCH=arm64
amd64          GOARCH=amd64
386            GOARCH=386 GO386=sse2
386-softfloat  GOARCH=386 GO386=softfloat
riscv64        GOARCH=riscv64
loong64        GOARCH=loong64
'

# Inlining makes our packages an eighth larger and serves nobody outside of the packet path, which is in tun and the
# libraries: the small build does without (docs/decisions/0011).
lean='-gcflags=oasis6/...=-l -gcflags=oasis6/tun='

build() { # name of the output, tags, settings ...
	out=$1 tags=$2
	shift 2
	flags=
	[ "$tags" != small ] || flags=$lean
	# No stamp of the checkout: equal sources give equal files, and git need not be willing.
	# shellcheck disable=SC2086 # flags is a list of words
	env CGO_ENABLED=0 GOOS=linux "$@" "${GO:-go}" build -buildvcs=false -trimpath \
		-ldflags '-s -w' $flags -tags "$tags" -o "dist/$out" ./cmd/oasis6
}

mkdir -p dist
echo "$targets" | while read -r name settings; do
	[ -n "$name" ] || continue
	# shellcheck disable=SC2086 # settings is a list of words
	build "oasis6-linux-$name" '' $settings
	# shellcheck disable=SC2086
	build "oasis6-linux-$name-small" small $settings
	echo "built linux/$name ($settings), default and small"
done
