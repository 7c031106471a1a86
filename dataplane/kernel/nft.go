// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"fmt"
	"slices"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/userdata"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// sendBuffer is room for the whole table in one message: hundreds of prefixes behind the LANs take a few 100 kB.
const sendBuffer = 1 << 20

// nft is the nftables socket. It is opened when first needed, and again after an error: answers to a
// batch that went wrong may still be under way on the old one.
type nft struct {
	conn    *nftables.Conn
	dropped uint64                   // packets over the limit that tables before this one counted
	in      func(func() error) error // runs in the Plane's network namespace
}

func (n *nft) open() (*nftables.Conn, error) {
	if n.conn != nil {
		return n.conn, nil
	}
	err := n.in(func() (err error) {
		n.conn, err = nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
			_ = c.SetWriteBuffer(sendBuffer) // without it most tables fit too
			return nil
		}))
		return err
	})
	return n.conn, err
}

func (n *nft) Close() error {
	if n.conn == nil {
		return nil
	}
	c := n.conn
	n.conn = nil
	return c.CloseLasting()
}

// explain names the usual cause behind the kernel's number.
func (n *nft) explain(what string, err error) error {
	_ = n.Close() // see nft
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL),
		errors.Is(err, unix.EAFNOSUPPORT), errors.Is(err, unix.ENOENT): // a missing module is the last
		return fmt.Errorf("table ip6 %s: %s: %w: does this kernel have nf_tables with IPv6, nft_ct, nft_limit, nft_reject_ipv6, and sets with timeouts?", tableName, what, err)
	}
	return fmt.Errorf("table ip6 %s: %s: %w", tableName, what, err)
}

// read compares the table in the kernel with the wanted one; want may be nil.
func (n *nft) read(want *ruleset) (tableState, error) {
	c, err := n.open()
	if err != nil {
		return tableState{}, n.explain("open", err)
	}
	t, err := n.find(c)
	if err != nil {
		return tableState{}, n.explain("read", err)
	}
	if t == nil {
		return tableState{}, nil
	}
	state := tableState{present: true}
	if want == nil {
		return state, nil
	}
	same, err := n.same(c, t, want)
	if err != nil {
		return tableState{}, n.explain("read", err)
	}
	if same {
		state.sum = want.sum
	}
	return state, nil
}

func (n *nft) find(c *nftables.Conn) (*nftables.Table, error) {
	tables, err := c.ListTablesOfFamily(nftables.TableFamilyIPv6)
	if err != nil {
		return nil, err
	}
	for _, t := range tables {
		if t.Name == tableName {
			return t, nil
		}
	}
	return nil, nil
}

// same goes through chains, rules and sets. Rules are known by their comments, which hold the
// fingerprint of the whole and their number.
func (n *nft) same(c *nftables.Conn, t *nftables.Table, want *ruleset) (bool, error) {
	if t.Flags != 0 { // dormant
		return false, nil
	}
	chains, err := c.ListChainsOfTableFamily(nftables.TableFamilyIPv6)
	if err != nil {
		return false, err
	}
	seen, count := 0, 0
	for _, ch := range chains {
		if ch.Table.Name != tableName {
			continue
		}
		count++
		hook, ok := chainHooks()[ch.Name]
		if !ok || ch.Hooknum == nil || *ch.Hooknum != *hook || ch.Priority == nil || *ch.Priority != *nftables.ChainPriorityFilter {
			return false, nil
		}
		rules, err := c.GetRules(t, ch)
		if err != nil {
			return false, err
		}
		for _, r := range rules {
			got, _ := userdata.GetString(r.UserData, userdata.TypeComment)
			if seen >= len(want.rules) || want.rules[seen].chain != ch.Name || got != want.comment(seen) {
				return false, nil
			}
			seen++
		}
	}
	if seen != len(want.rules) || count != len(chainHooks()) {
		return false, nil
	}
	return n.sameSets(c, t, want)
}

func (n *nft) sameSets(c *nftables.Conn, t *nftables.Table, want *ruleset) (bool, error) {
	sets, err := c.GetSets(t)
	if err != nil {
		return false, err
	}
	byName := map[string]*nftables.Set{}
	for _, s := range sets {
		byName[s.Name] = s
	}
	for _, w := range want.sets {
		s := byName[w.name]
		switch {
		case s == nil:
			return false, nil
		case w.dynamic: // what is in it is the packets' doing
			if !isSeenSet(s) {
				return false, nil
			}
			continue
		}
		elems, err := c.GetSetElements(s)
		if err != nil {
			return false, err
		}
		if !sameElems(elems, w.elems) {
			return false, nil
		}
	}
	return true, nil
}

func chainHooks() map[string]*nftables.ChainHook {
	return map[string]*nftables.ChainHook{
		chainForward: nftables.ChainHookForward,
		chainInput:   nftables.ChainHookInput,
		chainOutput:  nftables.ChainHookOutput,
	}
}

func (n *nft) table() *nftables.Table {
	return &nftables.Table{Name: tableName, Family: nftables.TableFamilyIPv6}
}

// replace puts the whole table in the place of what is there, in one transaction: no packet sees it
// missing or half made. The set of addresses seen is kept if it can be.
func (n *nft) replace(want *ruleset) (kept bool, err error) {
	c, err := n.open()
	if err != nil {
		return false, n.explain("open", err)
	}
	counted, _ := n.limited(c) // no table, nothing counted
	if kept = n.clear(c); kept {
		err = n.fill(c, want, true)
	}
	if !kept || err != nil { // somebody else's objects may hold on to ours
		kept = false
		if c, err = n.open(); err != nil {
			return false, n.explain("open", err)
		}
		c.AddTable(n.table()) // so that there is one to delete
		c.DelTable(n.table())
		c.AddTable(n.table())
		err = n.fill(c, want, false)
	}
	if err == nil {
		n.dropped += counted
	}
	return kept, err
}

// clear begins a transaction that removes all but a good set of addresses seen; false, and no transaction, without one.
func (n *nft) clear(c *nftables.Conn) bool {
	t, err := n.find(c)
	if err != nil || t == nil || t.Flags != 0 {
		return false
	}
	sets, err := c.GetSets(t)
	chains, err2 := c.ListChainsOfTableFamily(nftables.TableFamilyIPv6)
	if err != nil || err2 != nil || !slices.ContainsFunc(sets, isSeenSet) {
		return false
	}
	c.FlushTable(t)
	for _, ch := range chains {
		if ch.Table.Name == tableName {
			c.DelChain(ch)
		}
	}
	for _, s := range sets {
		if s.Name != setSeen {
			c.DelSet(s)
		}
	}
	return true
}

// fill ends the transaction with all that is wanted; kept: the dynamic sets are there.
func (n *nft) fill(c *nftables.Conn, want *ruleset, kept bool) error {
	t := n.table()
	for i, s := range want.sets {
		if s.dynamic && kept {
			continue
		}
		// The ID need only be unique in the transaction. Left to the library it comes from a variable
		// that all connections share without a lock.
		set := &nftables.Set{Table: t, ID: uint32(i + 1), Name: s.name, KeyType: s.typ, Interval: s.interval, Concatenation: s.concat}
		if s.dynamic {
			set.Dynamic, set.HasTimeout, set.Timeout, set.Size = true, true, seenTimeout, seenSize
		}
		if s.typ == nftables.TypeIFName {
			set.KeyByteOrder = binaryutil.NativeEndian // else nft prints the names as ""
		}
		first := s.elems[:min(len(s.elems), seenBatch)]
		err := c.AddSet(set, first)
		for rest := s.elems[len(first):]; len(rest) > 0 && err == nil; {
			next := rest[:min(len(rest), seenBatch)]
			rest, err = rest[len(next):], c.SetAddElements(set, next)
		}
		if err != nil {
			return n.explain("set "+s.name, err)
		}
	}
	accept := nftables.ChainPolicyAccept
	chains := map[string]*nftables.Chain{}
	for _, name := range []string{chainForward, chainInput, chainOutput} {
		chains[name] = c.AddChain(&nftables.Chain{
			Name: name, Table: t, Type: nftables.ChainTypeFilter, Policy: &accept,
			Hooknum: chainHooks()[name], Priority: nftables.ChainPriorityFilter,
		})
	}
	for i, r := range want.rules {
		c.AddRule(&nftables.Rule{
			Table: t, Chain: chains[r.chain], Exprs: r.exprs,
			UserData: userdata.AppendString(nil, userdata.TypeComment, want.comment(i)),
		})
	}
	if err := c.Flush(); err != nil {
		return n.explain("replace", err)
	}
	return nil
}

func (n *nft) remove() error {
	c, err := n.open()
	if err != nil {
		return n.explain("open", err)
	}
	counted, _ := n.limited(c)
	c.DelTable(n.table())
	if err := c.Flush(); err != nil {
		return n.explain("delete", err)
	}
	n.dropped += counted
	return nil
}
