#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Runs shellcheck over every shell script of the tree: what ends in .sh or begins with a shell's
# interpreter line.

set -eu
cd "$(dirname "$0")/.."

find . -type d \( -name .git -o -name bin -o -name dist -o -name testdata \) -prune -o -type f -print |
	while read -r file; do
		case $file in
		*.sh) echo "$file" ;;
		*)
			if head -c 64 "$file" | head -n 1 | tr -d '\000' | grep -qE '^#!.*/(env +)?(ba|da|a)?sh( |$)'; then
				echo "$file"
			fi
			;;
		esac
	done | sort | xargs shellcheck
