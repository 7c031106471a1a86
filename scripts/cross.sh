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

# The small build, and every one for MIPS, whose code is the longest, is compiled without inlining, without open-coded defers
# and without the second copy of the code around each make and append that first tries the stack: that is 400 kB of code and
# line tables of the small build (docs/decisions/0015), 1.3 MB of the default one (0019).
lean='-l -d=variablemakethreshold=0,noopendefer=1'

# But for what every packet or handshake goes through, and what is to be inlined there.
hot='golang.zx2c4.com/wireguard/... golang.org/x/crypto/... crypto/internal/fips140/edwards25519/...
	oasis6/tun encoding/binary math/bits runtime'

# In the default build that is the userspace data plane, too. What it forwards does not come through gVisor's stack, which has
# the box's own packets alone.
hot_whole='oasis6/dataplane/netstack/... oasis6/internal/bucket oasis6/internal/ip6pkt'

build() { # name of the output, tags, settings ...
	out=$1 tags=$2
	shift 2
	link='-s -w' experiment='' exempt=''
	for setting in "$@"; do
		case $tags:$setting in
		# The linker aligns segments to 64 KiB, which fills 80 kB with zeros. OpenWrt's kernels for 32-bit MIPS have
		# pages of 4 KiB; those of other boards may have larger ones.
		# The older garbage collector is 30 kB less.
		small:GOARCH=mips | small:GOARCH=mipsle) link="$link -R 0x1000" experiment=nogreenteagc exempt=$hot ;;
		small:GOARCH=*) exempt=$hot ;;
		:GOARCH=mips*) exempt="$hot $hot_whole" ;;
		esac
	done
	# No stamp of the checkout: equal sources give equal files, and git need not be willing.
	set -- "$@" "${GO:-go}" build -buildvcs=false -trimpath -ldflags "$link" -tags "$tags" -o "dist/$out"
	if [ -n "$exempt" ]; then
		set -- "$@" "-gcflags=all=$lean"
		for package in $exempt; do set -- "$@" "-gcflags=$package="; done
	fi
	env CGO_ENABLED=0 GOOS=linux "GOEXPERIMENT=$experiment" "$@" ./cmd/oasis6
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
