#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Prints the stripped sizes of what cross.sh built, and fails when a budget is exceeded: the small
# build must fit a board with 16 MB of flash, the default one, with everything in it, one with 32 MB.

set -eu
cd "$(dirname "$0")/.."

small_limit=6500000  # mipsle softfloat, -tags small
board_limit=14000000 # the default build for each kind of board
pc_limit=14500000    # amd64, which nobody flashes: compiled for speed alone

size() { wc -c <"$1" | tr -d ' '; }

printf '%-10s %12s %12s\n' board small default
over=
for board in mipsle arm5 arm64 amd64; do
	s=$(size "dist/oasis6-linux-$board-small")
	d=$(size "dist/oasis6-linux-$board")
	printf '%-10s %12d %12d\n' "$board" "$s" "$d"
	[ "$board" != mipsle ] || [ "$s" -le "$small_limit" ] || over="$over small on $board"
	limit=$board_limit
	[ "$board" != amd64 ] || limit=$pc_limit
	[ "$d" -le "$limit" ] || over="$over default on $board"
done
printf '%-10s %12d %12d\n' budget "$small_limit" "$board_limit"

if [ -n "$over" ]; then
	echo "over the budget:$over" >&2
	echo "see what brought it in with: go list -deps ./cmd/oasis6" >&2
	exit 1
fi
