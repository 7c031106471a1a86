// SPDX-License-Identifier: MIT

package netlab

import (
	"encoding/json"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Where Kea has its files. Debian's AppArmor profile lets it read and write there only, so R2 gets
// those places for itself.
const (
	keaConf   = "/etc/kea/kea-dhcp6.conf"
	keaLeases = "/var/lib/kea/kea-leases6.csv"
)

// keaState is what a test has told R2's Kea beyond WorldConfig.
type keaState struct {
	proc     *Proc
	pool     netip.Prefix            // delegated from now
	reserved map[string]netip.Prefix // by DUID in hex
}

type obj = map[string]any

// keaConfig is a file for Kea 2.2 and later. It delegates out of the pool to whoever asks on wg0.
func (w *World) keaConfig() string {
	c := w.Config
	secs := func(d time.Duration) int { return int(d / time.Second) }
	file := obj{"Dhcp6": obj{
		"interfaces-config": obj{"interfaces": []string{"wg0"}},
		"lease-database":    obj{"type": "memfile", "persist": true, "name": keaLeases, "lfc-interval": 0},
		// Without an Ethernet address Kea would make up a server id that changes with the file.
		"server-id":          obj{"type": "EN", "enterprise-id": 32473, "identifier": "0A515606", "persist": false},
		"preferred-lifetime": secs(c.Preferred), "valid-lifetime": secs(c.Valid),
		"renew-timer": secs(c.Renew), "rebind-timer": secs(c.Preferred * 4 / 5),
		// Kea 2.2 does not know the NTP Server option of RFC 5908.
		"option-def": []obj{
			{"name": "ntp-server", "code": 56, "space": "dhcp6", "type": "empty", "encapsulate": "ntp"},
			{"name": "address", "code": 1, "space": "ntp", "type": "ipv6-address"},
			{"name": "name", "code": 3, "space": "ntp", "type": "fqdn"},
		},
		// Kea sends of these what the client asks for.
		"option-data": []obj{
			{"name": "dns-servers", "data": DNSv6},
			{"name": "domain-search", "data": SearchList},
			{"name": "ntp-server"},
			{"name": "address", "space": "ntp", "data": NTPv6},
			{"name": "name", "space": "ntp", "data": NTPName},
		},
		"subnet6": []obj{w.keaSubnet()},
		"loggers": []obj{{"name": "kea-dhcp6", "severity": "INFO",
			"output_options": []obj{{"output": "stdout", "flush": true}}}},
	}}
	text, err := json.MarshalIndent(file, "", "  ")
	if err != nil {
		w.T.Fatalf("kea: %v", err) // maps of strings and numbers: cannot be
	}
	return string(text) + "\n"
}

func (w *World) keaSubnet() obj {
	c, pool := w.Config, w.kea.pool
	s := obj{
		"id": 1, "subnet": "fe80::/64", "interface": "wg0", "rapid-commit": !c.NoRapid,
		"pd-pools": []obj{{"prefix": pool.Addr().String(), "prefix-len": pool.Bits(), "delegated-len": c.DelegatedLen}},
	}
	if c.Addresses {
		s["subnet"] = AddressPool // an address pool must lie in its subnet
		s["pools"] = []obj{{"pool": AddressPool}}
	}
	var hosts []obj
	for duid, p := range w.kea.reserved {
		hosts = append(hosts, obj{"duid": duid, "prefixes": []string{p.String()}})
	}
	if hosts != nil {
		s["reservations"] = hosts
	}
	return s
}

// StartKea starts the DHCPv6 server of R2 and waits until it serves. The leases of an earlier run
// are still there. With NoDHCPv6 it is not started by StartR2, and a test may do so later.
func (w *World) StartKea() {
	w.T.Helper()
	if w.kea.proc == nil {
		w.R2.Tmpfs("/var/lib")
		w.R2.Tmpfs("/etc/kea")
		w.R2.Run("mkdir", "-p", "/var/lib/kea", "/run/kea", "/run/lock/kea")
	}
	w.R2.WriteFile(keaConf, w.keaConfig(), 0o644)
	w.kea.proc = w.R2.Start("kea-dhcp6", "-c", keaConf)
	if !w.kea.proc.WaitOutput(startTimeout, "DHCP6_STARTED") {
		w.T.Fatalf("r2: kea-dhcp6 does not serve:\n%s", w.kea.proc.Output())
	}
}

// StopKea stops the DHCPv6 server of R2; the tunnel and its routes stay.
func (w *World) StopKea() {
	w.T.Helper()
	w.kea.proc.Stop(unix.SIGTERM)
}

// KeaForget kills Kea, erases its leases and starts it again: a server that has lost its memory.
func (w *World) KeaForget() {
	w.T.Helper()
	w.kea.proc.Kill()
	w.R2.Run("sh", "-c", "rm -f "+keaLeases+"*") // the clean-up process leaves .1 and .2
	w.StartKea()
}

// KeaRenumber makes Kea delegate out of another pool from now on. R2 routes both: whoever still has
// a prefix of the old pool is not cut off.
func (w *World) KeaRenumber(pool netip.Prefix) {
	w.T.Helper()
	w.kea.pool = pool
	w.Route(pool)
	w.keaReload()
}

// KeaReserve sets a prefix apart for the client of that DUID (in hex, as `oasis6 status` shows it).
// A running Kea takes it over at once.
func (w *World) KeaReserve(duid string, p netip.Prefix) {
	w.T.Helper()
	if w.kea.reserved == nil {
		w.kea.reserved = map[string]netip.Prefix{}
	}
	w.kea.reserved[duid] = p
	w.Route(p)
	if w.kea.proc != nil && w.kea.proc.Running() {
		w.keaReload()
	}
}

// keaReload makes the running Kea read its configuration again, as an administrator does.
func (w *World) keaReload() {
	w.T.Helper()
	w.R2.WriteFile(keaConf, w.keaConfig(), 0o644)
	before := len(w.kea.proc.Output())
	w.kea.proc.Signal(unix.SIGHUP)
	if !w.kea.proc.WaitNewOutput(startTimeout, before, "DHCP6_CONFIG_COMPLETE") {
		w.T.Fatalf("r2: kea-dhcp6 does not take the new configuration:\n%s", w.kea.proc.Output())
	}
}

// KeaLeases is Kea's lease file.
func (w *World) KeaLeases() string {
	w.T.Helper()
	return w.R2.Run("cat", keaLeases)
}

// Delegated is the first prefix in Kea's lease file; not valid while there is none.
func (w *World) Delegated() netip.Prefix {
	w.T.Helper()
	out, err := w.R2.Try("cat", keaLeases)
	if err != nil {
		return netip.Prefix{}
	}
	for line := range strings.Lines(out) {
		// address,duid,valid_lifetime,expire,subnet_id,pref_lifetime,lease_type,iaid,prefix_len,...
		f := strings.Split(line, ",")
		if len(f) < 9 || f[6] != "2" { // IA_PD
			continue
		}
		if p, err := netip.ParsePrefix(f[0] + "/" + f[8]); err == nil {
			return p
		}
	}
	return netip.Prefix{}
}
