#!/bin/sh
# SPDX-License-Identifier: MIT
#
# Installs what the tests, the lab and the benches need beside Go: Debian packages. As a plain
# user it prints the line to type and exits with 1. Does nothing, quickly, when all is there.
#
# OASIS6_DEPS_DRY_RUN=1: prints the line and exits with 0 even as root.

set -eu

# A program (or a file) that shows that the package is there, and the package.
needs='
gcc             gcc
/usr/include/stdio.h libc6-dev
ip              iproute2
nft             nftables
ping            iputils-ping
wg              wireguard-tools
kea-dhcp6       kea-dhcp6-server
perfdhcp        kea-admin
rdisc6          ndisc6
radvd           radvd
rdnssd          rdnssd
dhcp6c          wide-dhcpv6-client
dibbler-server  dibbler-server
dhcpcd          dhcpcd-base
dhclient        isc-dhcp-client
strace          strace
tshark          tshark
tcpdump         tcpdump
curl            curl
qemu-mipsel     qemu-user
sysctl          procps
shellcheck      shellcheck
chromium        chromium
/usr/share/fonts/opentype/inter/Inter-Regular.otf fonts-inter
/usr/share/fonts/truetype/jetbrains-mono/JetBrainsMono-Regular.ttf fonts-jetbrains-mono
'

# A plain user's PATH lacks these on Debian.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

missing=
while read -r program package; do
	case $program in
	'') continue ;;
	/*) [ -e "$program" ] && continue ;;
	*) command -v "$program" >/dev/null 2>&1 && continue ;;
	esac
	missing="$missing $package"
done <<EOF
$needs
EOF

[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null 2>&1; then
	echo "missing (Debian package names):$missing" >&2
	echo "install them with your package manager: this script knows apt-get only" >&2
	exit 1
fi
if [ "${OASIS6_DEPS_DRY_RUN:-}" = 1 ]; then
	echo "apt-get install -y --no-install-recommends$missing"
	exit 0
fi
if [ "$(id -u)" != 0 ]; then
	echo "missing programs; type this, then try again:" >&2
	echo "    sudo apt-get install -y --no-install-recommends$missing" >&2
	exit 1
fi

# Nothing may start by being installed: a DHCPv6 server or an RA sender on the machine's own
# network would be an accident. This is Debian's way to say so; an administrator's own policy
# stays in force afterwards.
policy=/usr/sbin/policy-rc.d
placed=
restore() {
	[ -z "$placed" ] || rm -f "$policy"
}
trap restore EXIT
trap 'exit 1' HUP INT TERM
if [ ! -e "$policy" ]; then
	placed=yes
	printf '#!/bin/sh\nexit 101\n' >"$policy"
	chmod 755 "$policy"
fi

install() {
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
		-o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 $missing </dev/null >"$log" 2>&1
}

log=$(mktemp)
echo "installing:$missing" >&2
# The package lists are fetched only if the ones there do not serve.
if ! install; then
	apt-get update -q >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
	install || { cat "$log" >&2; exit 1; }
fi
rm -f "$log"
