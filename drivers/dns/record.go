package dns

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	mdns "github.com/miekg/dns"
)

// types make one record out of a value as it stands in the configuration.
var types = map[string]func(h mdns.RR_Header, value string) (mdns.RR, error){
	"A":     makeA,
	"AAAA":  makeAAAA,
	"CNAME": makeCNAME,
	"SRV":   makeSRV,
	"TXT":   makeTXT,
}

func typeNames() []string {
	names := make([]string, 0, len(types))
	for name := range types {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// records makes the record set that settings and values ask for. The error says "values[i]: what is wrong".
func (s *Settings) records(values []string) ([]mdns.RR, error) {
	if s.Type == "CNAME" && len(values) != 1 {
		return nil, fmt.Errorf("values: a CNAME has exactly one, not %d", len(values))
	}
	set := make([]mdns.RR, 0, len(values))
	for i, v := range values {
		h := mdns.RR_Header{
			Name: mdns.Fqdn(s.Name), Rrtype: mdns.StringToType[s.Type], Class: mdns.ClassINET,
			Ttl: uint32(s.ttl().Seconds()),
		}
		rr, err := types[s.Type](h, strings.TrimSpace(v))
		if err != nil {
			return nil, fmt.Errorf("values[%d]: %w", i, err)
		}
		if slices.ContainsFunc(set, func(o mdns.RR) bool { return mdns.IsDuplicate(o, rr) }) {
			return nil, fmt.Errorf("values[%d]: %s is there twice", i, v)
		}
		set = append(set, rr)
	}
	return set, nil
}

func makeA(h mdns.RR_Header, value string) (mdns.RR, error) {
	ip, err := netip.ParseAddr(value)
	if err != nil || !ip.Is4() {
		return nil, fmt.Errorf("%q is not an IPv4 address", value)
	}
	return &mdns.A{Hdr: h, A: ip.AsSlice()}, nil
}

func makeAAAA(h mdns.RR_Header, value string) (mdns.RR, error) {
	ip, err := netip.ParseAddr(value)
	if err != nil || !ip.Is6() || ip.Zone() != "" {
		return nil, fmt.Errorf("%q is not an IPv6 address", value)
	}
	return &mdns.AAAA{Hdr: h, AAAA: ip.AsSlice()}, nil
}

func makeCNAME(h mdns.RR_Header, value string) (mdns.RR, error) {
	if _, ok := mdns.IsDomainName(value); !ok {
		return nil, fmt.Errorf("%q is not a domain name", value)
	}
	return &mdns.CNAME{Hdr: h, Target: mdns.Fqdn(value)}, nil
}

func makeSRV(h mdns.RR_Header, value string) (mdns.RR, error) {
	words := strings.Fields(value)
	wrong := fmt.Errorf("%q is not: priority weight port target", value)
	if len(words) != 4 {
		return nil, wrong
	}
	var n [3]uint16
	for i := range n {
		v, err := strconv.ParseUint(words[i], 10, 16)
		if err != nil {
			return nil, wrong
		}
		n[i] = uint16(v)
	}
	if _, ok := mdns.IsDomainName(words[3]); !ok {
		return nil, wrong
	}
	return &mdns.SRV{Hdr: h, Priority: n[0], Weight: n[1], Port: n[2], Target: mdns.Fqdn(words[3])}, nil
}

// maxString is the longest character-string of a TXT record, in bytes (RFC 1035, 3.3). Longer values are cut into
// several, which readers put together again.
const maxString = 255

func makeTXT(h mdns.RR_Header, value string) (mdns.RR, error) {
	rr := &mdns.TXT{Hdr: h}
	for rest := value; rest != ""; {
		n := min(len(rest), maxString)
		rr.Txt = append(rr.Txt, escape(rest[:n]))
		rest = rest[n:]
	}
	return rr, nil
}

// escape writes bytes as miekg/dns keeps character-strings: in presentation form.
func escape(text string) string {
	var b strings.Builder
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c < ' ' || c > '~':
			fmt.Fprintf(&b, `\%03d`, c)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}

// sameSet reports whether a and b hold the same values, in whatever order and whatever their TTL.
func sameSet(a, b []mdns.RR) bool {
	if len(a) != len(b) {
		return false
	}
	for _, x := range a {
		if !slices.ContainsFunc(b, func(y mdns.RR) bool { return mdns.IsDuplicate(x, y) }) {
			return false
		}
	}
	return true
}

// value is a record's data in presentation form.
func value(rr mdns.RR) string {
	return strings.TrimPrefix(rr.String(), rr.Header().String())
}

// nothing is how the values of an empty set are written.
const nothing = "nothing"

// valuesOf are the data of a set, in order, as one text.
func valuesOf(set []mdns.RR) string {
	if len(set) == 0 {
		return nothing
	}
	texts := make([]string, len(set))
	for i, rr := range set {
		texts[i] = value(rr)
	}
	slices.Sort(texts)
	return strings.Join(texts, ", ")
}

// copies makes copies, since building an update changes the headers of what goes into it.
func copies(set []mdns.RR) []mdns.RR {
	out := make([]mdns.RR, len(set))
	for i, rr := range set {
		out[i] = mdns.Copy(rr)
	}
	return out
}
