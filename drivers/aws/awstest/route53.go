package awstest

import (
	"bytes"
	"cmp"
	"encoding/xml"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Record is one record set of Route 53, as its API has it. Names end with a dot; a star is \052.
type Record struct {
	Name          string
	Type          string
	SetIdentifier string       `xml:",omitempty"`
	Weight        *int64       `xml:",omitempty"`
	Region        string       `xml:",omitempty"`
	Failover      string       `xml:",omitempty"`
	TTL           *int64       `xml:",omitempty"`
	Values        []string     `xml:"ResourceRecords>ResourceRecord>Value,omitempty"`
	AliasTarget   *AliasTarget `xml:",omitempty"`
	HealthCheckId string       `xml:",omitempty"`
}

// AliasTarget is what an alias stands for.
type AliasTarget struct {
	HostedZoneId         string
	DNSName              string
	EvaluateTargetHealth bool
}

// wireRecord has a list whose members hold one value each, which encoding/xml reads but does not write from Record.
type wireRecord struct {
	Name            string
	Type            string
	SetIdentifier   string       `xml:",omitempty"`
	Weight          *int64       `xml:",omitempty"`
	Region          string       `xml:",omitempty"`
	Failover        string       `xml:",omitempty"`
	TTL             *int64       `xml:",omitempty"`
	ResourceRecords *wireValues  // nil for an alias
	AliasTarget     *AliasTarget `xml:",omitempty"`
	HealthCheckId   string       `xml:",omitempty"`
}

type wireValues struct{ ResourceRecord []wireValue }

type wireValue struct{ Value string }

func (r Record) wire() wireRecord {
	w := wireRecord{Name: r.Name, Type: r.Type, SetIdentifier: r.SetIdentifier, Weight: r.Weight, Region: r.Region, Failover: r.Failover, TTL: r.TTL, AliasTarget: r.AliasTarget, HealthCheckId: r.HealthCheckId}
	if len(r.Values) > 0 {
		w.ResourceRecords = &wireValues{}
	}
	for _, v := range r.Values {
		w.ResourceRecords.ResourceRecord = append(w.ResourceRecords.ResourceRecord, wireValue{v})
	}
	return w
}

// same reports whether two records are of one name, type and identifier.
func (r Record) same(o Record) bool {
	return r.Name == o.Name && r.Type == o.Type && r.SetIdentifier == o.SetIdentifier
}

// zone is a hosted zone: what was asked for, and what name servers already serve.
type zone struct {
	id, name, reference string
	private             bool
	records, served     []Record
}

type change struct {
	id, status, comment string
	submitted           time.Time
}

// Zone makes a hosted zone, and gives its id.
func (w *World) Zone(acct, name string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.account(acct).zone(w, name, "made by the test").id
}

func (a *account) zone(w *World, name, reference string) *zone {
	name = dotted(name)
	z := &zone{id: fmt.Sprintf("Z%019d", w.next()), name: name, reference: reference}
	ttl, authority := int64(172800), int64(900)
	z.records = []Record{
		{Name: name, Type: "NS", TTL: &ttl, Values: []string{"ns-1.awsdns-01.org."}},
		{Name: name, Type: "SOA", TTL: &authority, Values: []string{"ns-1.awsdns-01.org. awsdns-hostmaster.amazon.com. 1 7200 900 1209600 86400"}},
	}
	z.served = slices.Clone(z.records)
	a.zones[z.id] = z
	return z
}

// Served are the records of a name and type that name servers answer from now: changes count once they are INSYNC.
func (w *World) Served(acct, zoneID, name, typ string) []Record {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settle()
	var out []Record
	if z := w.account(acct).zones[zoneID]; z != nil {
		for _, r := range z.served {
			if r.Name == dotted(name) && r.Type == typ {
				out = append(out, r)
			}
		}
	}
	return out
}

// dotted is a name as Route 53 keeps it.
func dotted(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "*", `\052`)
	if !strings.HasSuffix(name, ".") {
		name += "."
	}
	return name
}

// restXML is how Route 53 speaks.
type restXML struct{}

func (restXML) read(req *http.Request, _ []byte) (string, params, error) {
	p := params{}
	for k, v := range req.URL.Query() {
		p[k] = v
	}
	parts := strings.Split(strings.Trim(strings.TrimPrefix(req.URL.Path, "/2013-04-01"), "/"), "/")
	if len(parts) > 1 {
		p["Id"] = []string{parts[len(parts)-1]}
		if len(parts) > 2 {
			p["Id"] = []string{parts[1]}
			parts[1] = "*"
		} else {
			parts[1] = "*"
		}
	}
	actions := map[string]string{
		"POST hostedzone/*/rrset": "ChangeResourceRecordSets", "GET hostedzone/*/rrset": "ListResourceRecordSets", "GET change/*": "GetChange",
		"GET hostedzonesbyname": "ListHostedZonesByName", "GET hostedzone/*": "GetHostedZone", "POST hostedzone": "CreateHostedZone", "GET hostedzone": "ListHostedZones",
	}
	at := req.Method + " " + strings.Join(parts, "/")
	if action, ok := actions[at]; ok {
		return action, p, nil
	}
	return "", p, &apiError{http.StatusNotImplemented, "NotImplemented", "awstest does not know " + at}
}

func (restXML) write(s *service, c *call, out any, h http.Header) ([]byte, error) {
	h.Set("Content-Type", "text/xml")
	if made, ok := out.(madeZone); ok {
		h.Set("Location", "https://route53.amazonaws.com/2013-04-01"+made.HostedZone.Id)
	}
	var b bytes.Buffer
	b.WriteString(xml.Header)
	start := xml.StartElement{Name: xml.Name{Local: c.action + "Response"}, Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: s.namespace}}}
	err := xml.NewEncoder(&b).EncodeElement(out, start)
	return b.Bytes(), err
}

func (restXML) fail(s *service, c *call, e *apiError, h http.Header) []byte {
	if e.code != "InvalidChangeBatch" {
		return query{}.fail(s, c, e, h)
	}
	h.Set("Content-Type", "text/xml")
	var b bytes.Buffer
	fmt.Fprintf(&b, "<InvalidChangeBatch xmlns=%q><Messages><Message>", s.namespace)
	_ = xml.EscapeText(&b, []byte(e.message))
	fmt.Fprintf(&b, "</Message></Messages><RequestId>%s</RequestId></InvalidChangeBatch>", c.id)
	return b.Bytes()
}

func recordActions() map[string]action {
	return map[string]action{
		"ChangeResourceRecordSets": {"Id!", changeRecords},
		"ListResourceRecordSets":   {"Id! name type identifier maxitems", listRecords},
		"GetChange":                {"Id!", getChange},
		"GetHostedZone":            {"Id!", getZone},
		"ListHostedZones":          {"marker maxitems", listZones},
		"ListHostedZonesByName":    {"dnsname hostedzoneid maxitems", listZonesByName},
		"CreateHostedZone":         {"", createZone},
	}
}

// inSync is how long a change is PENDING: "generally within 60 seconds" (Route 53 API Reference, ChangeResourceRecordSets).
var inSync = []Phase{{"PENDING", 30 * time.Second}}

func (c *call) zone() (*zone, error) {
	id := strings.TrimPrefix(c.p.str("Id"), "/hostedzone/")
	z := c.w.account(c.account).zones[id]
	if z == nil {
		return nil, gone("NoSuchHostedZone", "No hosted zone found with ID: %s", id)
	}
	return z, nil
}

type changeInfo struct {
	Id, Status, SubmittedAt string
	Comment                 string `xml:",omitempty"`
}

func (ch *change) wire() changeInfo {
	return changeInfo{"/change/" + ch.id, ch.status, iso(ch.submitted), ch.comment}
}

// change makes one that is PENDING until name servers have what served says.
func (c *call) change(z *zone, comment string) *change {
	ch := &change{id: fmt.Sprintf("C%019d", c.w.next()), comment: comment, submitted: c.now}
	c.w.account(c.account).changes[ch.id] = ch
	served := slices.Clone(z.records)
	transition{
		r: c.r, action: c.action, name: z.id, phases: inSync,
		set:    func(status string, _ time.Time) { ch.status = status },
		done:   func(time.Time) { ch.status, z.served = "INSYNC", served },
		failed: func(time.Time) {},
	}.begin(c.now)
	return ch
}

func changeRecords(c *call) (any, error) {
	z, err := c.zone()
	if err != nil {
		return nil, err
	}
	var in struct {
		Comment string `xml:"ChangeBatch>Comment"`
		Changes []struct {
			Action string
			Record Record `xml:"ResourceRecordSet"`
		} `xml:"ChangeBatch>Changes>Change"`
	}
	if err := xml.Unmarshal(c.body, &in); err != nil {
		return nil, refuse("InvalidInput", "the body is not XML")
	}
	if len(in.Changes) == 0 {
		return nil, refuse("InvalidInput", "at least one change is needed")
	}
	records := slices.Clone(z.records)
	for _, ch := range in.Changes {
		ch.Record.Name = dotted(ch.Record.Name)
		if records, err = z.apply(records, ch.Action, ch.Record); err != nil {
			return nil, err
		}
	}
	z.records = records
	return struct{ ChangeInfo changeInfo }{c.change(z, in.Comment).wire()}, nil
}

// apply makes one change of a batch, or refuses it in Route 53's words.
func (z *zone) apply(records []Record, action string, r Record) ([]Record, error) {
	invalid := func(format string, args ...any) error {
		return refuse("InvalidChangeBatch", "[%s]", fmt.Sprintf(format, args...))
	}
	named := fmt.Sprintf("[name='%s', type='%s'", r.Name, r.Type)
	if r.SetIdentifier != "" {
		named += fmt.Sprintf(", set-identifier='%s'", r.SetIdentifier)
	}
	named += "]"
	if err := z.fits(r); err != nil {
		return nil, err
	}
	at := slices.IndexFunc(records, r.same)
	switch action {
	case "DELETE":
		if at < 0 {
			return nil, invalid("Tried to delete resource record set %s but it was not found", named)
		}
		if !reflect.DeepEqual(records[at], r) {
			return nil, invalid("Tried to delete resource record set %s but the values provided do not match the current values", named)
		}
		return slices.Delete(records, at, at+1), nil
	case "CREATE", "UPSERT":
		if at >= 0 && action == "CREATE" {
			return nil, invalid("Tried to create resource record set %s but it already exists", named)
		}
		for i, o := range records {
			if i == at || o.Name != r.Name {
				continue
			}
			switch {
			case o.Type == r.Type && (o.policy() != r.policy() || r.policy() == "simple"):
				return nil, invalid("RRSet with DNS name %s, type %s, SetIdentifier %s cannot be created as other RRSets exist with the same name and type.", r.Name, r.Type, r.SetIdentifier)
			case o.Type != r.Type && (o.Type == "CNAME" || r.Type == "CNAME"):
				return nil, invalid("RRSet of type %s with DNS name %s is not permitted as it conflicts with other records with the same DNS name in zone %s.", r.Type, r.Name, z.name)
			case o.Type == r.Type && r.Failover != "" && o.Failover == r.Failover:
				return nil, invalid("Tried to create resource record set %s, but another %s record exists", named, r.Failover)
			}
		}
		if at >= 0 {
			records[at] = r
			return records, nil
		}
		return append(records, r), nil
	}
	return nil, refuse("InvalidInput", "Invalid action %q", action)
}

// policy is how a record's answers are chosen.
func (r Record) policy() string {
	switch {
	case r.SetIdentifier == "":
		return "simple"
	case r.Weight != nil:
		return "weighted"
	case r.Failover != "":
		return "failover"
	}
	return "latency"
}

// fits refuses a record that cannot be in the zone.
func (z *zone) fits(r Record) error {
	plain := r.TTL != nil && len(r.Values) > 0
	switch {
	case r.Name != z.name && !strings.HasSuffix(r.Name, "."+z.name):
		return refuse("InvalidChangeBatch", "[RRSet with DNS name %s is not permitted in zone %s]", r.Name, z.name)
	case r.AliasTarget == nil && !plain, r.AliasTarget != nil && (r.TTL != nil || len(r.Values) > 0):
		return refuse("InvalidInput", "Invalid request: Expected exactly one of [AliasTarget, all of [TTL, and ResourceRecords], or TrafficPolicyInstanceId], but found none in Change with [Action=UPSERT, Name=%s, Type=%s, SetIdentifier=%s]", r.Name, r.Type, r.SetIdentifier)
	case r.SetIdentifier == "" && (r.Weight != nil || r.Failover != "" || r.Region != ""):
		return refuse("InvalidInput", "Invalid request: Missing field 'SetIdentifier' in Change with [Name=%s, Type=%s]", r.Name, r.Type)
	case r.SetIdentifier != "" && r.Weight == nil && r.Failover == "" && r.Region == "":
		return refuse("InvalidInput", "Invalid request: Expected exactly one of [Weight, Region, Failover, GeoLocation, MultiValueAnswer] in Change with [Name=%s, Type=%s]", r.Name, r.Type)
	case r.Failover != "" && r.Failover != "PRIMARY" && r.Failover != "SECONDARY":
		return refuse("InvalidInput", "Failover must be PRIMARY or SECONDARY")
	case r.Weight != nil && (*r.Weight < 0 || *r.Weight > 255):
		return refuse("InvalidInput", "Weight must be from 0 to 255")
	case r.Type == "CNAME" && r.Name == z.name:
		return refuse("InvalidChangeBatch", "[RRSet of type CNAME with DNS name %s is not permitted at apex in zone %s]", r.Name, z.name)
	case r.Type == "A" && r.AliasTarget == nil && slices.ContainsFunc(r.Values, func(v string) bool { return strings.Count(v, ".") != 3 || strings.Trim(v, "0123456789.") != "" }):
		return refuse("InvalidChangeBatch", "[Invalid Resource Record: FATAL problem: ARRDATAIllegalIPv4Address (Value is not a valid IPv4 address) encountered with '%s']", r.Values[0])
	}
	return nil
}

// ordered sorts records as Route 53 lists them: by name with the labels reversed, then by type, then by identifier.
func ordered(records []Record) []Record {
	reversed := func(name string) string {
		labels := strings.Split(strings.TrimSuffix(name, "."), ".")
		slices.Reverse(labels)
		return strings.Join(labels, ".") + "."
	}
	out := slices.Clone(records)
	slices.SortFunc(out, func(a, b Record) int {
		return cmp.Or(cmp.Compare(reversed(a.Name), reversed(b.Name)), cmp.Compare(a.Type, b.Type), cmp.Compare(a.SetIdentifier, b.SetIdentifier))
	})
	return out
}

func listRecords(c *call) (any, error) {
	z, err := c.zone()
	if err != nil {
		return nil, err
	}
	var out struct {
		Records              []wireRecord `xml:"ResourceRecordSets>ResourceRecordSet"`
		IsTruncated          bool
		NextRecordName       string `xml:",omitempty"`
		NextRecordType       string `xml:",omitempty"`
		NextRecordIdentifier string `xml:",omitempty"`
		MaxItems             string
	}
	limit, ok := c.p.num("maxitems")
	if !ok || limit > 300 {
		limit = 300
	}
	out.MaxItems = strconv.Itoa(limit)
	all := ordered(z.records)
	if name := c.p.str("name"); name != "" {
		from := Record{Name: dotted(name), Type: c.p.str("type"), SetIdentifier: c.p.str("identifier")}
		marked := ordered(append(slices.Clone(z.records), from))
		all = all[slices.IndexFunc(marked, from.same):]
	}
	for i, r := range all {
		if i == limit {
			out.IsTruncated, out.NextRecordName, out.NextRecordType, out.NextRecordIdentifier = true, r.Name, r.Type, r.SetIdentifier
			break
		}
		out.Records = append(out.Records, r.wire())
	}
	return out, nil
}

func getChange(c *call) (any, error) {
	id := strings.TrimPrefix(c.p.str("Id"), "/change/")
	ch := c.w.account(c.account).changes[id]
	if ch == nil {
		return nil, gone("NoSuchChange", "A change with the specified change ID does not exist: %s", id)
	}
	return struct{ ChangeInfo changeInfo }{ch.wire()}, nil
}

type zoneConfig struct{ PrivateZone bool }

type hostedZone struct {
	Id, Name, CallerReference string
	Config                    zoneConfig
	ResourceRecordSetCount    int
}

func (z *zone) wire() hostedZone {
	return hostedZone{Id: "/hostedzone/" + z.id, Name: z.name, CallerReference: z.reference, Config: zoneConfig{z.private}, ResourceRecordSetCount: len(z.records)}
}

type delegationSet struct {
	NameServers []string `xml:"NameServers>NameServer"`
}

func getZone(c *call) (any, error) {
	z, err := c.zone()
	if err != nil {
		return nil, err
	}
	return struct {
		HostedZone    hostedZone
		DelegationSet delegationSet
	}{z.wire(), delegationSet{[]string{"ns-1.awsdns-01.org"}}}, nil
}

// zones are an account's, by name.
func (a *account) sorted() []*zone {
	var all []*zone
	for _, z := range a.zones {
		all = append(all, z)
	}
	slices.SortFunc(all, func(x, y *zone) int { return cmp.Or(cmp.Compare(x.name, y.name), cmp.Compare(x.id, y.id)) })
	return all
}

func listZones(c *call) (any, error) {
	var out struct {
		HostedZones []hostedZone `xml:"HostedZones>HostedZone"`
		Marker      string
		IsTruncated bool
		MaxItems    string
	}
	out.MaxItems = "100"
	for _, z := range c.w.account(c.account).sorted() {
		out.HostedZones = append(out.HostedZones, z.wire())
	}
	return out, nil
}

func listZonesByName(c *call) (any, error) {
	var out struct {
		HostedZones []hostedZone `xml:"HostedZones>HostedZone"`
		DNSName     string       `xml:",omitempty"`
		IsTruncated bool
		MaxItems    string
	}
	out.MaxItems, out.DNSName = "100", c.p.str("dnsname")
	for _, z := range c.w.account(c.account).sorted() {
		if out.DNSName == "" || z.name >= dotted(out.DNSName) {
			out.HostedZones = append(out.HostedZones, z.wire())
		}
	}
	return out, nil
}

func createZone(c *call) (any, error) {
	var in struct{ Name, CallerReference string }
	if err := xml.Unmarshal(c.body, &in); err != nil || in.Name == "" || in.CallerReference == "" {
		return nil, refuse("InvalidInput", "Name and CallerReference are needed")
	}
	a := c.w.account(c.account)
	for _, z := range a.zones {
		if z.reference == in.CallerReference {
			return nil, &apiError{http.StatusConflict, "HostedZoneAlreadyExists", "A hosted zone has already been created with the specified caller reference."}
		}
	}
	z := a.zone(c.w, in.Name, in.CallerReference)
	return madeZone{z.wire(), c.change(z, "").wire(), delegationSet{[]string{"ns-1.awsdns-01.org"}}}, nil
}

// madeZone is the answer to a zone that was made: it names its place in a header.
type madeZone struct {
	HostedZone    hostedZone
	ChangeInfo    changeInfo
	DelegationSet delegationSet
}
