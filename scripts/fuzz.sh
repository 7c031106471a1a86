#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs every fuzz target of the tree.
#
#   fuzz.sh total SECONDS   shares SECONDS among them, 2 to 5 seconds each
#   fuzz.sh each SECONDS    gives each of them SECONDS

set -eu
cd "$(dirname "$0")/.."

targets=$(grep -rn --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*(' . |
	sed -n 's/^\(.*\)\/[^/]*_test\.go:[0-9]*:func \(Fuzz[A-Za-z0-9_]*\)(.*/\1 \2/p' | sort)
count=$(echo "$targets" | grep -c . || true)
[ "$count" -gt 0 ] || { echo "no fuzz targets found" >&2; exit 1; }

case ${1:-} in
total)
	each=$(($2 / count))
	[ "$each" -le 5 ] || each=5
	[ "$each" -ge 2 ] || each=2
	;;
each) each=$2 ;;
*)
	echo "usage: fuzz.sh total|each SECONDS" >&2
	exit 2
	;;
esac

echo "fuzzing $count targets, $each s each"
echo "$targets" | while read -r dir target; do
	# Only the last lines say something; all of them if it fails.
	if out=$("${GO:-go}" test -run '^$' -fuzz "^$target\$" -fuzztime "${each}s" "$dir" 2>&1); then
		echo "$out" | tail -n 1 | sed "s/\$/ $target/"
	else
		echo "$out"
		exit 1
	fi
done
