// SPDX-License-Identifier: MIT

package netlab

import "os"

// AndroidLike makes the kernel of a host treat short lifetimes as Android does since 2023: an RA's lifetimes below
// 180 s, and not 0, are as if they were not there (accept_ra_min_lft, Linux 6.6). Lifetime 0 still counts. It also takes
// route options of any length. An older kernel skips the test.
func (n *Node) AndroidLike(iface string) {
	n.lab.T.Helper()
	conf := "net/ipv6/conf/" + iface + "/"
	if err := n.Do(func() error { _, err := os.Stat(sysctlPath(conf + "accept_ra_min_lft")); return err }); err != nil {
		refuse(n.lab.T, "node %s: %v (needs Linux 6.6)", n.Name, err)
	}
	n.Sysctl(conf+"accept_ra_min_lft", "180")
	n.Sysctl(conf+"accept_ra_rt_info_max_plen", "64")
}

// PrivateLike makes the addresses of a host those of a desktop: a stable one that does not show the MAC (RFC 7217), and
// a temporary one that it prefers (RFC 8981).
func (n *Node) PrivateLike(iface string) {
	n.lab.T.Helper()
	conf := "net/ipv6/conf/" + iface + "/"
	n.Sysctl(conf+"stable_secret", "2001:db8:5ec4:e7::1") // 128 bits, written as an address; it sets addr_gen_mode too
	n.Sysctl(conf+"use_tempaddr", "2")
}

// Optimistic lets a host use an address while its DAD still runs (RFC 4429).
func (n *Node) Optimistic(iface string) {
	n.lab.T.Helper()
	for _, key := range []string{"optimistic_dad", "use_optimistic"} {
		n.Sysctl("net/ipv6/conf/"+iface+"/"+key, "1")
	}
}
