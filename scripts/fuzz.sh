#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs every fuzz target of the tree, of as many packages at a time as there are processors.
#
#   fuzz.sh runs COUNT      gives each of them COUNT inputs
#   fuzz.sh each SECONDS    gives each of them SECONDS

set -eu
cd "$(dirname "$0")/.."

targets() {
	grep -rn --include='*_test.go' '^func Fuzz[A-Za-z0-9_]*(' "$1" |
		sed -n 's/^\(.*\)\/[^/]*_test\.go:[0-9]*:func \(Fuzz[A-Za-z0-9_]*\)(.*/\1 \2/p' | sort
}

# Until Go 1.27 the end of a -fuzztime in seconds may fail with "context deadline exceeded" although
# nothing was found (golang/go#75804). A finding names its input and a crash says so; only an end that
# says nothing else is taken for what it is.
only_time_is_up() {
	echo "$1" | grep -qx '    context deadline exceeded' || return 1
	! echo "$1" | grep -qE 'Failing input|panic|hung or terminated|_test\.go:|fatal error|DATA RACE'
}

# package DIR BUDGET runs the targets of one package. They have one binary: linking takes longer than some of them run.
package() {
	bin=$(mktemp -d) || return 1
	trap 'rm -rf "$bin"' EXIT
	"${GO:-go}" test -c -fuzz . -o "$bin/fuzz.test" "$1" || return 1
	for target in $(targets "$1" | sed -n "s|^$1 ||p"); do
		# Only the last lines say something; all of them if it fails.
		if out=$(cd "$1" && "$bin/fuzz.test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "$2" -test.parallel 1 \
			-test.fuzzcachedir "$FUZZ_CACHE/$1" 2>&1); then
			echo "$out" | grep '^fuzz: elapsed' | tail -n 1 | sed "s|^fuzz: |ok  	$1	$target: |"
		elif only_time_is_up "$out"; then
			echo "ok  	$1	$target: time was up in the middle of an input"
		else
			echo "$out"
			return 1
		fi
	done
}

case ${1:-} in
runs) budget=$2x ;; # a count has no deadline, see above
each) budget=$2s ;;
package)
	package "$2" "$3" || exit 255 # that is how xargs begins no other
	exit
	;;
*)
	echo "usage: fuzz.sh runs COUNT | each SECONDS" >&2
	exit 2
	;;
esac

all=$(targets .)
count=$(echo "$all" | grep -c . || true)
[ "$count" -gt 0 ] || { echo "no fuzz targets found" >&2; exit 1; }
FUZZ_CACHE=$("${GO:-go}" env GOCACHE)/fuzz
export FUZZ_CACHE

echo "fuzzing $count targets, $budget each"
# Those with the most targets first: the last one runs alone.
echo "$all" | cut -d ' ' -f 1 | uniq -c | sort -rn | sed 's/^ *[0-9]* //' |
	xargs -P "$(nproc)" -I '{}' scripts/fuzz.sh package '{}' "$budget"
