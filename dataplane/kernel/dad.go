// SPDX-License-Identifier: MIT

package kernel

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// dadRetry is the least time after which an address that another node has is made anew, to see whether
// that node still has it: the kernel never tries again by itself.
const dadRetry = 30 * time.Second

// duplicates are the addresses of ours that another node on the link has, as text.
func duplicates(s *snapshot, mem memory) map[addrID]string {
	dups := map[addrID]string{}
	for _, a := range s.addrs {
		id := addrID{a.index, a.prefix.Addr()}
		if a.flags&unix.IFA_F_DADFAILED != 0 && s.ours(a, mem) {
			dups[id] = fmt.Sprintf("address %s dev %s", a.prefix, s.ifname(a.index))
		}
	}
	return dups
}

func dupText(addr string) string { return addr + ": another node on the link uses it" }

// anew chooses those of p.dups whose time has come.
func (p *Plane) anew() map[addrID]bool {
	now, out := p.now(), map[addrID]bool{}
	maps.DeleteFunc(p.dadTried, func(_ addrID, t time.Time) bool { return now.Sub(t) >= dadRetry })
	for id := range p.dups {
		if _, soon := p.dadTried[id]; !soon {
			out[id], p.dadTried[id] = true, now
		}
	}
	return out
}

// dupError names the duplicates of the last Apply. One that has just been made anew is among them: whether
// it is usable shows later, and is a Drift then.
func (p *Plane) dupError() error {
	var errs []error
	for _, text := range slices.Sorted(maps.Values(p.dups)) {
		errs = append(errs, errors.New(dupText(text)))
	}
	return errors.Join(errs...)
}

// dadNews is what the last Apply did not know: a new duplicate, or one that is usable after all.
func (p *Plane) dadNews(s *snapshot) (news []string) {
	now := duplicates(s, p.memory)
	for id, text := range now {
		if _, known := p.dups[id]; !known {
			news = append(news, dupText(text))
		}
	}
	for _, a := range s.addrs {
		text, was := p.dups[addrID{a.index, a.prefix.Addr()}]
		if was && a.flags&(unix.IFA_F_DADFAILED|unix.IFA_F_TENTATIVE) == 0 {
			news = append(news, text+" is usable again")
		}
	}
	slices.Sort(news)
	return news
}
