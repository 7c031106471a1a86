#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs every fuzz target of the tree.
#
#   fuzz.sh runs COUNT      gives each of them COUNT inputs
#   fuzz.sh each SECONDS    gives each of them SECONDS

set -eu
cd "$(dirname "$0")/.."

targets=$(grep -rn --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*(' . |
	sed -n 's/^\(.*\)\/[^/]*_test\.go:[0-9]*:func \(Fuzz[A-Za-z0-9_]*\)(.*/\1 \2/p' | sort)
count=$(echo "$targets" | grep -c . || true)
[ "$count" -gt 0 ] || { echo "no fuzz targets found" >&2; exit 1; }

case ${1:-} in
runs) budget=$2x ;; # a count has no deadline, see below
each) budget=$2s ;;
*)
	echo "usage: fuzz.sh runs COUNT | each SECONDS" >&2
	exit 2
	;;
esac

# Until Go 1.27 the end of a -fuzztime in seconds may fail with "context deadline exceeded" although
# nothing was found (golang/go#75804). A finding names its input and a crash says so; only an end that
# says nothing else is taken for what it is.
only_time_is_up() {
	echo "$1" | grep -qx '    context deadline exceeded' || return 1
	! echo "$1" | grep -qE 'Failing input|panic|hung or terminated|_test\.go:|fatal error|DATA RACE'
}

# One binary for all targets of a package: linking takes longer than some of them run.
bin=$(mktemp -d)
trap 'rm -rf "$bin"' EXIT
cache=$("${GO:-go}" env GOCACHE)/fuzz
built=

echo "fuzzing $count targets, $budget each"
echo "$targets" | while read -r dir target; do
	if [ "$dir" != "$built" ]; then
		"${GO:-go}" test -c -fuzz . -o "$bin/fuzz.test" "$dir"
		built=$dir
	fi
	# Only the last lines say something; all of them if it fails.
	if out=$(cd "$dir" && "$bin/fuzz.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$budget" -test.fuzzcachedir "$cache/$dir" 2>&1); then
		echo "$out" | grep '^fuzz: elapsed' | tail -n 1 | sed "s|^fuzz: |ok  	$dir	$target: |"
	elif only_time_is_up "$out"; then
		echo "ok  	$dir	$target: time was up in the middle of an input"
	else
		echo "$out"
		exit 1
	fi
done
