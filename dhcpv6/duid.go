// SPDX-License-Identifier: MIT

package dhcpv6

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strconv"
)

// DUID is a DHCP Unique Identifier with its two type octets, 3 to 130 octets (RFC 9915 section 11.1).
// It is a string so that it compares with == and serves as a map key.
type DUID string

// Bounds of a DUID: two type octets and 1 to 128 octets of identifier (RFC 9915 section 11.1).
const (
	MinDUIDLen = 3
	MaxDUIDLen = 130
)

// duidTypeUUID is the type of a DUID-UUID (RFC 9915 section 11.5).
const duidTypeUUID = 4

// String is lower-case hex, as other DHCPv6 software prints it.
func (d DUID) String() string { return hex.EncodeToString([]byte(d)) }

// ParseDUID takes the octets of a Client or Server Identifier option. What the octets mean is not
// looked at: "Clients and servers MUST treat DUIDs as opaque values" (RFC 9915 section 11).
func ParseDUID(b []byte) (DUID, error) {
	if len(b) < MinDUIDLen || len(b) > MaxDUIDLen {
		return "", fmt.Errorf("DUID of %d octets: want %d to %d", len(b), MinDUIDLen, MaxDUIDLen)
	}
	return DUID(b), nil
}

// ParseDUIDText reads the form that String writes.
func ParseDUIDText(s string) (DUID, error) {
	b, err := hex.DecodeString(s)
	if err != nil {
		return "", fmt.Errorf("DUID is not hex: %w", err)
	}
	return ParseDUID(b)
}

// NewDUIDUUID makes a DUID-UUID (RFC 6355) of 16 random octets: version 4, the variant of RFC 9562.
// It is made once in the life of a box and kept: on a link without link-layer addresses there is
// nothing else to take.
func NewDUIDUUID(random [16]byte) DUID { return duidUUID(random, 4) }

// DUIDFromPublicKey is the fallback for a box that cannot store its DUID: the same key gives the same
// DUID-UUID (version 8, RFC 9562 section 5.8) after every start, and no two keys share one.
func DUIDFromPublicKey(key [32]byte) DUID {
	h := sha256.Sum256(append([]byte("oasis6 duid"), key[:]...))
	return duidUUID([16]byte(h[:16]), 8)
}

func duidUUID(u [16]byte, version byte) DUID {
	u[6] = u[6]&0x0f | version<<4
	u[8] = u[8]&0x3f | 0x80
	return DUID(append([]byte{0, duidTypeUUID}, u[:]...))
}

// IAID tells the identity associations of one client apart (RFC 9915 section 12).
type IAID uint32

// DefaultIAID serves a client that has one IA_PD: "If the client uses only one IAID, it can use a
// well-known value" (RFC 9915 section 12). Never change it: the lease hangs on it.
const DefaultIAID IAID = 1

// String is the number in hex, as DHCPv6 servers log it.
func (i IAID) String() string { return "0x" + strconv.FormatUint(uint64(i), 16) }

// name is the i-th name of a table, or what and the number where the table has none.
func name(table []string, i int, what string) string {
	if i < len(table) && table[i] != "" {
		return table[i]
	}
	return what + " " + strconv.Itoa(i)
}
