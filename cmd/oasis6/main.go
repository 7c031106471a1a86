// SPDX-License-Identifier: MIT

// Command oasis6 puts a LAN stuck behind IPv4 NAT on the IPv6 Internet.
package main

func main() {}
