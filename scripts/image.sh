#!/bin/sh
# SPDX-License-Identifier: MIT
#
#   image.sh build ARCH   makes the image oasis6 with buildah, podman or docker
#   image.sh check ARCH   makes it with buildah in a folder of its own, without an engine or a
#                         registry, and checks what is in it; as root it installs buildah
#
# ARCH is Go's name of the architecture.

set -eu
cd "$(dirname "$0")/.."

arch=${2:?usage: image.sh build|check ARCH}

binary() {
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch "${GO:-go}" build -trimpath -ldflags '-s -w' \
		-o "dist/oasis6-linux-$arch" ./cmd/oasis6
}

build() {
	for engine in buildah podman docker; do
		command -v "$engine" >/dev/null 2>&1 || continue
		binary
		"$engine" build --platform "linux/$arch" -t oasis6 .
		return
	done
	echo "no buildah, podman or docker here: install one of them" >&2
	exit 1
}

need_buildah() {
	! command -v buildah >/dev/null 2>&1 || return 0
	if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
		echo "buildah is missing: sudo apt-get install -y --no-install-recommends buildah" >&2
		exit 1
	fi
	echo "installing buildah" >&2
	apt_install || { apt-get update -q >/dev/null && apt_install; }
}

apt_install() {
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
		-o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 buildah </dev/null >/dev/null 2>&1
}

wants() { # what, pattern, text
	echo "$3" | grep -q "$2" || { echo "image: no $1 ($2) in: $3" >&2; exit 1; }
}

check() {
	need_buildah
	binary
	work=$(mktemp -d)
	# The unpacked image has folders that only root may enter.
	trap 'rm -rf "$work"' EXIT
	b="buildah --root $work/root --runroot $work/run --storage-driver vfs"
	# shellcheck disable=SC2086 # b is a list of words, here and below
	$b bud -q --isolation chroot --platform "linux/$arch" -t oasis6:check . >/dev/null
	# shellcheck disable=SC2086
	config=$($b inspect --type image --format '{{.OCIv1.Config.Entrypoint}} {{.OCIv1.Config.Cmd}} {{.OCIv1.Config.Volumes}} ports{{.OCIv1.Config.ExposedPorts}}' oasis6:check)
	wants entrypoint '^\[/oasis6\] \[run\] ' "$config"
	wants volume 'map\[/var/lib/oasis6:{}\]' "$config"
	wants "closed ports" 'portsmap\[\]' "$config"

	# shellcheck disable=SC2086
	container=$($b from --pull-never oasis6:check)
	# shellcheck disable=SC2086
	root=$($b mount "$container")
	files=$(cd "$root" && find . -type f)
	[ "$files" = ./oasis6 ] || { echo "image: it holds more than the binary: $files" >&2; exit 1; }
	if [ "$arch" = "$("${GO:-go}" env GOHOSTARCH)" ]; then
		wants version '^oasis6 ' "$(chroot "$root" /oasis6 version)"
	fi
	echo "image: $(wc -c <"$root/oasis6" | tr -d ' ') octets, one file, $config"
}

case $1 in
build) build ;;
check) check ;;
*)
	echo "usage: image.sh build|check ARCH" >&2
	exit 2
	;;
esac
