// SPDX-License-Identifier: MIT

// Package kernel makes the Linux kernel equal to dataplane.Desired, with netlink, nftables and
// sysctls, and says when somebody else changed what we made.
//
// Every Apply reads what the kernel holds, computes the difference (plan.go, pure) and carries it
// out (apply.go). What we make carries a mark: route protocol 66, address protocol 66, the table
// `ip6 oasis6`. What cannot carry one, sysctls, and addresses on kernels before 5.18, is remembered
// in RUN/kernel.json before the first change (memory.go). Nothing without a mark is changed, and
// nothing of IPv4 is looked at.
//
// The watcher (watch.go) does not sort events into ours and theirs: it computes the same difference
// again and speaks only if there is one. So our own changes are silent and no event can be missed.
//
// A hub has ten thousand routes: there an Apply reads only if there was a sign of another's change, and the watcher
// is not told of our own changes of routes (many.go).
//
// Limits: one network namespace, that of the thread that calls Open; only the main routing table;
// source-specific routes need a kernel with CONFIG_IPV6_SUBTREES. Start at Open.
package kernel
