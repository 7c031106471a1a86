// SPDX-License-Identifier: MIT

package router

import (
	"crypto/rand"
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
		r.ula = netip.Prefix{}
	case config.ULAStatic:
		r.ula = r.cfg.Prefix.ULAPrefix
	case config.ULAAuto:
		r.ula = r.keptULA()
	}
}

// keptULA is the prefix in the state folder, made if there is none. Where it cannot be kept it is made of the key, so that
// it is the same after every start.
func (r *Router) keptULA() netip.Prefix {
	f := stateFile{r.opt.State, "ula"}
	data, err := f.read()
	if data != nil {
		var p netip.Prefix
		if p, err = parseULA(data); err == nil {
			return p
		}
		err = f.setAside(err)
	}
	if err != nil {
		r.warn("file of the unique local prefix unusable, making a new one", "err", err.Error())
	}
	var id [5]byte
	_, _ = rand.Read(id[:]) // crypto/rand.Read never fails, it ends the process
	p := ulaOf(id)
	if err := f.write([]byte(p.String() + "\n")); err != nil {
		p = ulaFromKey(r.cfg.Interface.PrivateKey)
		r.warn("unique local prefix not saved, made of the key instead", "prefix", p.String(), "err", err.Error())
		return p
	}
	r.info("unique local prefix made", "prefix", p.String())
	return p
}

// ulaOf is fd00::/8 with a Global ID (RFC 4193 section 3.1).
func ulaOf(id [5]byte) netip.Prefix {
	a := [16]byte{0xfd}
	copy(a[1:], id[:])
	return netip.PrefixFrom(netip.AddrFrom16(a), ulaBits)
}

func ulaFromKey(k wgkey.Private) netip.Prefix {
	public := k.Public()
	sum := sha256.Sum256(append([]byte("oasis6 ula"), public[:]...))
	return ulaOf([5]byte(sum[:5]))
}

func parseULA(data []byte) (netip.Prefix, error) {
	p, err := netip.ParsePrefix(strings.TrimSpace(string(data)))
	if err == nil && (p.Bits() != ulaBits || p != p.Masked() || !netip.MustParsePrefix("fd00::/8").Contains(p.Addr())) {
		err = errors.New("not a /48 in fd00::/8")
	}
	return p, err
}
