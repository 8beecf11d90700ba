package nameserver

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// recordKey names one RRset.
type recordKey struct {
	name  string // canonical
	rtype uint16
}

// records are a zone's RRsets. A set that is there is not empty.
type records map[recordKey][]dns.RR

// zone is the data of one zone: a pure map, its lock, and the file that it is kept in.
type zone struct {
	apex string
	file string

	mu      sync.RWMutex
	records records
}

// openZone reads the zone from file, or makes it of the given records, a SOA and an NS.
func openZone(apex string, first []string, file string) (*zone, error) {
	z := &zone{apex: apex, file: file, records: records{}}
	text, err := []byte(nil), fs.ErrNotExist
	if file != "" {
		text, err = os.ReadFile(file)
	}
	switch {
	case err == nil:
		return z, z.parse(string(text), file)
	case !errors.Is(err, fs.ErrNotExist):
		return nil, failure.WrapAs(failure.Unavailable, err, "read zone", file)
	}
	lines := append([]string{
		apex + " 60 IN SOA ns." + apex + " hostmaster." + apex + " 1 60 60 3600 1",
		apex + " 60 IN NS ns." + apex,
	}, first...)
	if err := z.parse(strings.Join(lines, "\n")+"\n", "the first records"); err != nil {
		return nil, err
	}
	return z, z.store(z.records)
}

func (z *zone) parse(text, source string) error {
	parser := dns.NewZoneParser(strings.NewReader(text), z.apex, source)
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		if !dns.IsSubDomain(z.apex, rr.Header().Name) {
			return failure.New(failure.Invalid, "read zone", source, "%s is not in %s", rr.Header().Name, z.apex)
		}
		z.records.add(rr)
	}
	if err := parser.Err(); err != nil {
		return failure.WrapAs(failure.Invalid, err, "read zone", source)
	}
	if z.records.soa(z.apex) == nil {
		return failure.New(failure.Invalid, "read zone", source, "%s has no SOA record", z.apex)
	}
	return nil
}

// store writes the records to the zone's file, whole and durably, before anybody sees them.
func (z *zone) store(all records) error {
	if z.file == "" {
		return nil
	}
	var lines []string
	for _, set := range all {
		for _, rr := range set {
			lines = append(lines, rr.String()+"\n")
		}
	}
	slices.Sort(lines)
	tmp, err := os.CreateTemp(filepath.Dir(z.file), filepath.Base(z.file)+".*")
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write zone", z.file)
	}
	defer os.Remove(tmp.Name()) // gone already when all went well
	_, err = tmp.WriteString(strings.Join(lines, ""))
	if err = errors.Join(err, tmp.Sync(), tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), z.file)
	}
	if err != nil {
		return failure.WrapAs(failure.Unavailable, err, "write zone", z.file)
	}
	return nil
}

// answer looks a query up.
func (z *zone) answer(req *dns.Msg) *dns.Msg {
	z.mu.RLock()
	defer z.mu.RUnlock()
	reply := new(dns.Msg)
	reply.SetReply(req)
	q := req.Question[0]
	name := dns.CanonicalName(q.Name)
	if q.Qclass != dns.ClassINET || !dns.IsSubDomain(z.apex, name) || q.Qtype == dns.TypeAXFR || q.Qtype == dns.TypeIXFR {
		reply.Rcode = dns.RcodeRefused
		return reply
	}
	reply.Authoritative = true
	for range 8 { // a chain of aliases this long is a loop
		if set := z.records.matching(name, q.Qtype); len(set) > 0 {
			reply.Answer = append(reply.Answer, set...)
			return reply
		}
		alias := z.records[recordKey{name, dns.TypeCNAME}]
		if len(alias) == 0 {
			break
		}
		reply.Answer = append(reply.Answer, dns.Copy(alias[0]))
		name = dns.CanonicalName(alias[0].(*dns.CNAME).Target)
		if !dns.IsSubDomain(z.apex, name) {
			return reply
		}
	}
	if !z.records.exists(name) {
		reply.Rcode = dns.RcodeNameError
	}
	reply.Ns = []dns.RR{dns.Copy(z.records.soa(z.apex))}
	return reply
}

// update carries out req, all of it or nothing, and gives the response code and the serial after it.
func (z *zone) update(req *dns.Msg) (rcode int, serial uint32, err error) {
	z.mu.Lock()
	defer z.mu.Unlock()
	now := z.records.soa(z.apex).Serial
	if len(req.Question) != 1 || req.Question[0].Qtype != dns.TypeSOA {
		return dns.RcodeFormatError, now, nil
	}
	if q := req.Question[0]; dns.CanonicalName(q.Name) != z.apex || q.Qclass != dns.ClassINET {
		return dns.RcodeNotAuth, now, nil
	}
	if rcode := z.prerequisites(req.Answer); rcode != dns.RcodeSuccess {
		return rcode, now, nil
	}
	if rcode := z.prescan(req.Ns); rcode != dns.RcodeSuccess {
		return rcode, now, nil
	}
	next := z.records.clone()
	changed := false
	for _, rr := range req.Ns {
		changed = next.apply(z.apex, rr) || changed
	}
	if !changed {
		return dns.RcodeSuccess, now, nil
	}
	soa := next.soa(z.apex)
	if soa.Serial == now {
		soa.Serial = now + 1
		if soa.Serial == 0 { // RFC 2136, 4.2: zero is skipped
			soa.Serial = 1
		}
	}
	if err := z.store(next); err != nil {
		return dns.RcodeServerFailure, now, err
	}
	z.records = next
	return dns.RcodeSuccess, soa.Serial, nil
}

// soa gives the zone's SOA record itself, not a copy.
func (r records) soa(apex string) *dns.SOA {
	set := r[recordKey{apex, dns.TypeSOA}]
	if len(set) == 0 {
		return nil
	}
	return set[0].(*dns.SOA)
}

// clone copies deeply enough to be changed while the original is being read.
func (r records) clone() records {
	next := maps.Clone(r)
	for key, set := range next {
		next[key] = make([]dns.RR, len(set))
		for i, rr := range set {
			next[key][i] = dns.Copy(rr)
		}
	}
	return next
}

// matching gives copies of the records that answer a question of a type.
func (r records) matching(name string, rtype uint16) []dns.RR {
	var out []dns.RR
	for key, set := range r {
		if key.name == name && (rtype == dns.TypeANY || key.rtype == rtype) {
			for _, rr := range set {
				out = append(out, dns.Copy(rr))
			}
		}
	}
	return out
}

// exists reports whether there is anything at or below a name (an empty non-terminal exists, RFC 4592).
func (r records) exists(name string) bool {
	for key := range r {
		if key.name == name || strings.HasSuffix(key.name, "."+name) {
			return true
		}
	}
	return false
}
