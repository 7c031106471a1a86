#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs the tests of the packages that touch no kernel as 32-bit programs: most boards are 32-bit.
# The others, which need namespaces or the race detector, are vetted for 386 at least. A machine
# that cannot run 386 programs vets all.

set -eu
cd "$(dirname "$0")/.."
go=${GO:-go}

export CGO_ENABLED=0 GOOS=linux GOARCH=386

"$go" vet ./...

case $("$go" env GOHOSTARCH) in
amd64 | 386) ;;
*)
	echo "this machine runs no 386 programs: vetted only"
	exit 0
	;;
esac

pure=$("$go" list ./... | grep -E '^oasis6/(config|dhcpv6|hub/enroll|ra|status|trial|tun/gauge|tun/health|dataplane|internal/(bucket|control|drift|httpd|invite|ip6pkt|lifetime|note|retry|wgkey))(/|$)' | grep -v '^oasis6/dataplane/kernel')
# shellcheck disable=SC2086 # a list of packages
"$go" test -vet=off $pure # vetted above
