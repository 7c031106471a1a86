// SPDX-License-Identifier: MIT

package router

import (
	"crypto/sha256"
	"errors"
	"net/netip"
	"strings"

	"oasis6/config"
	"oasis6/internal/wgkey"
)

// setULA makes r.ula what the configuration wants: none, the one of the file, or one that is made once and then kept
// (RFC 7084 ULA-1 to ULA-3).
func (r *Router) setULA() {
	switch r.cfg.Prefix.ULA {
	case config.ULAOff:
		r.ula, r.ulaKept = netip.Prefix{}, false
	case config.ULAStatic:
		r.ula, r.ulaKept = r.cfg.Prefix.ULAPrefix, false
	case config.ULAAuto:
		if !r.ulaKept { // else a reload, and it stays
			r.ula, r.ulaKept = r.keptULA(), true
		}
	}
}

// keptULA is the prefix in the state folder. Where there is none it is made of the box's key and kept, so that another key
// later does not change it; where it cannot be kept it is the same after every start all the same.
func (r *Router) keptULA() netip.Prefix {
	f := stateFile{r.opt.Files, "ula"}
	own := ulaFromKey(r.cfg.Interface.PrivateKey)
	data, err := f.read()
	if data != nil {
		var p netip.Prefix
		if p, err = parseULA(data); err == nil {
			return p
		}
		r.journal.Warn("file of the unique local prefix unusable, making it anew", "prefix", own.String(), "err", f.setAside(err).Error())
		err = nil
	}
	if err == nil { // there is none; else there may be one that cannot be read now
		err = f.write([]byte(own.String() + "\n"))
	}
	if err != nil {
		r.journal.Warn("unique local prefix neither read nor saved, made of the key", "prefix", own.String(), "err", err.Error())
		return own
	}
	r.journal.Info("unique local prefix made", "prefix", own.String())
	return own
}

func ulaFromKey(k wgkey.Private) netip.Prefix {
	public := k.Public()
	sum := sha256.Sum256(append([]byte("oasis6 ula"), public[:]...))
	// fd00::/8 with a Global ID (RFC 4193 section 3.1), which section 3.2.2 makes of a hash too.
	a := [16]byte{0xfd}
	copy(a[1:6], sum[:])
	return netip.PrefixFrom(netip.AddrFrom16(a), ulaBits)
}

func parseULA(data []byte) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(strings.TrimSpace(string(data)))
	if err == nil && (p.Bits() != ulaBits || p != p.Masked() || !netip.MustParsePrefix("fd00::/8").Contains(p.Addr())) {
		err = errors.New("not a /48 in fd00::/8")
	}
	return p, err
}
