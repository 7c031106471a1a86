// SPDX-License-Identifier: MIT

package packet

import (
	"fmt"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// maxRecords bounds what is shown of one message.
const maxRecords = 64

func dnsFields(o *reader, p *part) {
	var m dnsmessage.Parser
	h, err := m.Start(p.head)
	if err != nil {
		o.short = true
		return
	}
	o.add("ID", fmt.Sprintf("0x%04x", h.ID), "", "pairs an answer with its question")
	o.add("QR", yes(b2u(h.Response)), "", choose(b2u(h.Response), "answer", "question"))
	if h.OpCode != 0 {
		o.add("Opcode", fmt.Sprint(h.OpCode), "", "")
	}
	o.add("Recursion desired", yes(b2u(h.RecursionDesired)), "", choose(b2u(h.RecursionDesired), "the server is to ask others until it knows", ""))
	if h.Response {
		o.add("Authoritative", yes(b2u(h.Authoritative)), "", "")
		o.add("Response code", known(int(h.RCode), rcode(h.RCode)), "", "")
	}
	if h.Truncated {
		o.add("Truncated", "1", "", "too long for UDP: ask again by TCP")
	}
	for range maxRecords {
		q, err := m.Question()
		if err != nil {
			o.short = err != dnsmessage.ErrSectionDone
			break
		}
		o.add("Question", fmt.Sprintf("%s %s", domain(q.Name), dnsType(q.Type)), "RFC 1035 section 4.1.2", "")
	}
	for _, s := range []struct {
		name string
		next func() (dnsmessage.Resource, error)
		skip func() error
	}{{"Answer", m.Answer, m.SkipAllAnswers}, {"Authority", m.Authority, m.SkipAllAuthorities}, {"Additional", m.Additional, m.SkipAllAdditionals}} {
		for range maxRecords {
			r, err := s.next()
			if err != nil {
				o.short = o.short || err != dnsmessage.ErrSectionDone
				break
			}
			recordField(o, s.name, r)
		}
		if o.short || s.skip() != nil {
			o.short = true
			return
		}
	}
}

func recordField(o *reader, section string, r dnsmessage.Resource) {
	if r.Header.Type == dnsmessage.TypeOPT {
		o.add("EDNS", fmt.Sprintf("up to %d octets by UDP", uint16(r.Header.Class)), "RFC 6891 section 6.1.2", "")
		return
	}
	value, rfc := recordValue(r.Body)
	o.add(section, fmt.Sprintf("%s %s %s", domain(r.Header.Name), dnsType(r.Header.Type), value), rfc, "to be kept for "+seconds(r.Header.TTL))
}

func recordValue(body dnsmessage.ResourceBody) (value, rfc string) {
	const basic = "RFC 1035 section 3.3"
	switch r := body.(type) {
	case *dnsmessage.AAAAResource:
		return netip.AddrFrom16(r.AAAA).String(), "RFC 3596 section 2.1"
	case *dnsmessage.AResource:
		return netip.AddrFrom4(r.A).String(), "RFC 1035 section 3.4.1"
	case *dnsmessage.CNAMEResource:
		return domain(r.CNAME), basic
	case *dnsmessage.NSResource:
		return domain(r.NS), basic
	case *dnsmessage.PTRResource:
		return domain(r.PTR), basic
	case *dnsmessage.MXResource:
		return fmt.Sprintf("%d %s", r.Pref, domain(r.MX)), basic
	case *dnsmessage.SOAResource:
		return fmt.Sprintf("%s serial %d", domain(r.NS), r.Serial), basic
	case *dnsmessage.TXTResource:
		return printable([]byte(strings.Join(r.TXT, " "))), basic
	case *dnsmessage.SRVResource:
		return fmt.Sprintf("%d %d %d %s", r.Priority, r.Weight, r.Port, domain(r.Target)), "RFC 2782"
	case *dnsmessage.UnknownResource:
		return hexText(r.Data), ""
	}
	return "", ""
}

// domain is a name without its final dot, as people write it.
func domain(n dnsmessage.Name) string {
	s := printable(n.Data[:n.Length])
	if s == "." {
		return s
	}
	return strings.TrimSuffix(s, ".")
}

func dnsType(t dnsmessage.Type) string { return strings.TrimPrefix(t.String(), "Type") }

// rcode is the name of a response code in the registry (RFC 6895 section 2.3).
func rcode(c dnsmessage.RCode) string {
	switch c {
	case dnsmessage.RCodeSuccess:
		return "NoError"
	case dnsmessage.RCodeFormatError:
		return "FormErr"
	case dnsmessage.RCodeServerFailure:
		return "ServFail"
	case dnsmessage.RCodeNameError:
		return "NXDomain: there is no such name"
	case dnsmessage.RCodeNotImplemented:
		return "NotImp"
	case dnsmessage.RCodeRefused:
		return "Refused"
	}
	return ""
}

func dnsShort(p *part) string {
	var m dnsmessage.Parser
	h, err := m.Start(p.head)
	if err != nil {
		return "DNS cut short"
	}
	q, err := m.Question()
	if err != nil {
		return "DNS without a question"
	}
	s := fmt.Sprintf("%s %s", dnsType(q.Type), domain(q.Name))
	if !h.Response {
		return "DNS question: " + s
	}
	s = "DNS answer: " + s
	if h.RCode != 0 {
		return s + ": " + rcode(h.RCode)
	}
	if m.SkipAllQuestions() != nil {
		return s
	}
	var values []string
	for range 4 {
		r, err := m.Answer()
		if err != nil {
			break
		}
		value, _ := recordValue(r.Body)
		values = append(values, value)
	}
	if len(values) == 0 {
		return s + ": no such record"
	}
	return s + " is " + strings.Join(values, ", ")
}
