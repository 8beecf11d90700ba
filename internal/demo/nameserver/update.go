package nameserver

import (
	"slices"

	"github.com/miekg/dns"
)

// prerequisites is RFC 2136, 3.2: what must hold in the zone before anything of an update is done.
func (z *zone) prerequisites(section []dns.RR) int {
	exact := records{}
	for _, rr := range section {
		h := rr.Header()
		key := recordKey{dns.CanonicalName(h.Name), h.Rrtype}
		if h.Ttl != 0 {
			return dns.RcodeFormatError
		}
		if !dns.IsSubDomain(z.apex, key.name) {
			return dns.RcodeNotZone
		}
		switch h.Class {
		case dns.ClassANY, dns.ClassNONE:
			if h.Rdlength != 0 {
				return dns.RcodeFormatError
			}
			if rcode := z.presence(key, h.Class == dns.ClassANY); rcode != dns.RcodeSuccess {
				return rcode
			}
		case dns.ClassINET:
			exact[key] = append(exact[key], rr)
		default:
			return dns.RcodeFormatError
		}
	}
	for key, want := range exact {
		if !sameSet(z.records[key], want) {
			return dns.RcodeNXRrset
		}
	}
	return dns.RcodeSuccess
}

// presence asks whether a name (type ANY) or an RRset is there, as wanted.
func (z *zone) presence(key recordKey, wanted bool) int {
	if key.rtype == dns.TypeANY {
		there := len(z.records.matching(key.name, dns.TypeANY)) > 0
		switch {
		case wanted && !there:
			return dns.RcodeNameError
		case !wanted && there:
			return dns.RcodeYXDomain
		}
		return dns.RcodeSuccess
	}
	there := len(z.records[key]) > 0
	switch {
	case wanted && !there:
		return dns.RcodeNXRrset
	case !wanted && there:
		return dns.RcodeYXRrset
	}
	return dns.RcodeSuccess
}

// prescan is RFC 2136, 3.4.1: the whole update section is sound before any of it is done.
func (z *zone) prescan(section []dns.RR) int {
	for _, rr := range section {
		h := rr.Header()
		if !dns.IsSubDomain(z.apex, dns.CanonicalName(h.Name)) {
			return dns.RcodeNotZone
		}
		meta := h.Rrtype == dns.TypeANY || h.Rrtype == dns.TypeAXFR || h.Rrtype == dns.TypeIXFR ||
			h.Rrtype == dns.TypeMAILA || h.Rrtype == dns.TypeMAILB || h.Rrtype == dns.TypeOPT
		switch h.Class {
		case dns.ClassINET:
			if meta {
				return dns.RcodeFormatError
			}
		case dns.ClassANY:
			if h.Ttl != 0 || h.Rdlength != 0 || meta && h.Rrtype != dns.TypeANY {
				return dns.RcodeFormatError
			}
		case dns.ClassNONE:
			if h.Ttl != 0 || meta {
				return dns.RcodeFormatError
			}
		default:
			return dns.RcodeFormatError
		}
	}
	return dns.RcodeSuccess
}

// apply is RFC 2136, 3.4.2, for one record of the update section. It reports whether something changed.
func (r records) apply(apex string, rr dns.RR) bool {
	h := rr.Header()
	key := recordKey{dns.CanonicalName(h.Name), h.Rrtype}
	switch h.Class {
	case dns.ClassINET:
		return r.insert(apex, rr)
	case dns.ClassANY:
		changed := false
		for other := range r {
			matches := other == key || key.rtype == dns.TypeANY && other.name == key.name
			protected := other.name == apex && (other.rtype == dns.TypeSOA || other.rtype == dns.TypeNS)
			if matches && !protected {
				delete(r, other)
				changed = true
			}
		}
		return changed
	}
	if h.Rrtype == dns.TypeSOA || key.name == apex && h.Rrtype == dns.TypeNS && len(r[key]) == 1 {
		return false // the SOA and the last NS stay
	}
	left := slices.DeleteFunc(slices.Clone(r[key]), func(have dns.RR) bool { return sameData(have, rr) })
	if len(left) == len(r[key]) {
		return false
	}
	if r[key] = left; len(left) == 0 {
		delete(r, key)
	}
	return true
}

// insert adds a record by the rules of RFC 2136, 3.4.2.2: an alias and other data do not mix, and a SOA must be newer.
func (r records) insert(apex string, rr dns.RR) bool {
	h := rr.Header()
	name := dns.CanonicalName(h.Name)
	alias := len(r[recordKey{name, dns.TypeCNAME}]) > 0
	switch {
	case h.Rrtype == dns.TypeSOA:
		soa := r.soa(apex)
		if name != apex || int32(rr.(*dns.SOA).Serial-soa.Serial) <= 0 { // serial arithmetic, RFC 1982
			return false
		}
		r[recordKey{apex, dns.TypeSOA}] = []dns.RR{dns.Copy(rr)}
		return true
	case h.Rrtype == dns.TypeCNAME && !alias && len(r.matching(name, dns.TypeANY)) > 0, h.Rrtype != dns.TypeCNAME && alias:
		return false
	}
	return r.add(rr)
}

// add puts a record into its set. One with the same data replaces the old one; a CNAME always does. The set's TTLs
// become the new record's (RFC 2181, 5.2). It reports whether something changed.
func (r records) add(rr dns.RR) bool {
	rr = dns.Copy(rr)
	h := rr.Header()
	h.Name = dns.CanonicalName(h.Name)
	key := recordKey{h.Name, h.Rrtype}
	if h.Rrtype == dns.TypeCNAME && len(r[key]) > 0 && !sameData(r[key][0], rr) {
		r[key] = []dns.RR{rr}
		return true
	}
	changed, found := false, false
	for _, have := range r[key] {
		if have.Header().Ttl != h.Ttl {
			have.Header().Ttl, changed = h.Ttl, true
		}
		found = found || sameData(have, rr)
	}
	if found {
		return changed
	}
	r[key] = append(r[key], rr)
	return true
}

// sameData compares name, type and data; neither class nor TTL.
func sameData(a, b dns.RR) bool {
	x, y := dns.Copy(a), dns.Copy(b)
	x.Header().Class, y.Header().Class = dns.ClassINET, dns.ClassINET
	return dns.IsDuplicate(x, y)
}

func sameSet(have, want []dns.RR) bool {
	contains := func(set []dns.RR, rr dns.RR) bool {
		return slices.ContainsFunc(set, func(other dns.RR) bool { return sameData(other, rr) })
	}
	for _, rr := range want {
		if !contains(have, rr) {
			return false
		}
	}
	for _, rr := range have {
		if !contains(want, rr) {
			return false
		}
	}
	return true
}
