package dns

import (
	"context"
	"errors"
	"net"
	"slices"
	"time"

	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/secret"
)

// fudge is how far apart the clocks may be, in seconds: what RFC 8945 (10) recommends.
const fudge = 300

// client asks the servers of one record.
type client struct {
	s      *Settings
	secret secret.Value // the TSIG key's base64 text; empty: unsigned
	now    func() time.Time
}

// newClient reads the key and makes a client.
func (d *Driver) newClient(ctx context.Context, s *Settings) (*client, error) {
	c := &client{s: s, now: d.now}
	if s.TSIG == nil {
		return c, nil
	}
	v, err := s.TSIG.Secret.Resolve(ctx)
	if err != nil {
		return nil, failure.Wrap(err, "read the key", s.TSIG.Name)
	}
	if _, ok := keyText(v.Reveal()); !ok {
		return nil, failure.New(failure.Invalid, "read the key", s.TSIG.Name,
			"%s holds neither a base64 text nor a key file", s.TSIG.Secret).
			WithHint("make one with: tsig-keygen -a hmac-sha256 %s", s.TSIG.Name)
	}
	c.secret = v
	return c, nil
}

// sign puts a stub signature on m, which is filled in when m is sent.
func (c *client) sign(m *mdns.Msg) {
	if c.s.TSIG == nil {
		return
	}
	m.SetTsig(mdns.CanonicalName(c.s.TSIG.Name), algorithms[c.s.TSIG.algorithm()], fudge, c.now().Unix())
}

// errNotSent says that a message never left: whatever it asks for has not happened.
var errNotSent = errors.New("not sent")

// exchange sends m to server over network and reads the answer. An error that is errNotSent means that the server has
// not seen m.
func (c *client) exchange(ctx context.Context, network, server string, m *mdns.Msg) (*mdns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, c.s.timeout())
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return nil, errors.Join(errNotSent, err)
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, errors.Join(errNotSent, err)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	dc := &mdns.Conn{Conn: conn, UDPSize: mdns.DefaultMsgSize}
	if t := m.IsTsig(); t != nil {
		key, _ := keyText(c.secret.Reveal())
		dc.TsigSecret = map[string]string{t.Hdr.Name: key}
	}
	if err := dc.WriteMsg(m); err != nil {
		if network == "udp" || errors.Is(err, mdns.ErrSecret) {
			err = errors.Join(errNotSent, err)
		}
		return nil, err
	}
	for {
		r, err := dc.ReadMsg()
		switch {
		case r != nil && r.Id != m.Id && err == nil:
			continue // an answer to something else
		case r != nil && r.Id == m.Id && errors.Is(err, mdns.ErrAuth):
			return r, nil // an unsigned refusal: its code says why
		case err != nil && ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case err != nil:
			return nil, err
		}
		return r, nil
	}
}

// reply is what one server says about the record.
type reply struct {
	server string
	set    []mdns.RR // the record set, empty when there is none
	ttl    uint32    // of the set; of the negative answer when there is none (RFC 2308, 5)
	other  []mdns.RR // records of another type in the answer: a CNAME in the way
	serial uint32
	err    error // why there is no answer from an authority
}

// ask asks one server for the record and, for the evidence, for the zone's serial.
func (c *client) ask(ctx context.Context, server string) reply {
	rep := reply{server: server}
	r, err := c.question(ctx, server, c.s.Name, mdns.StringToType[c.s.Type])
	if err == nil {
		err = c.authority(server, r)
	}
	if err != nil {
		rep.err = err
		return rep
	}
	for _, rr := range r.Answer {
		if h := rr.Header(); h.Rrtype == mdns.StringToType[c.s.Type] && equalNames(h.Name, c.s.Name) {
			rep.set = append(rep.set, rr)
			rep.ttl = h.Ttl
		} else if equalNames(h.Name, c.s.Name) {
			rep.other = append(rep.other, rr)
		}
	}
	if len(rep.set) == 0 {
		for _, rr := range r.Ns {
			if soa, ok := rr.(*mdns.SOA); ok {
				rep.ttl, rep.serial = min(soa.Hdr.Ttl, soa.Minttl), soa.Serial
				return rep
			}
		}
	}
	if r, err := c.question(ctx, server, c.s.Zone, mdns.TypeSOA); err == nil {
		for _, rr := range r.Answer {
			if soa, ok := rr.(*mdns.SOA); ok {
				rep.serial = soa.Serial
			}
		}
	}
	return rep
}

// askAll asks every server at once. The replies are in the order of the settings.
func (c *client) askAll(ctx context.Context) []reply {
	replies := make([]reply, len(c.s.Servers))
	done := make(chan struct{}, len(c.s.Servers))
	for i, server := range c.s.Servers {
		go func() {
			replies[i] = c.ask(ctx, server)
			done <- struct{}{}
		}()
	}
	for range c.s.Servers {
		<-done
	}
	return replies
}

// question asks one thing of one server, without recursion. A cut answer and a lost packet are asked again over tcp.
func (c *client) question(ctx context.Context, server, name string, typ uint16) (*mdns.Msg, error) {
	m := new(mdns.Msg)
	m.SetQuestion(mdns.Fqdn(name), typ)
	m.RecursionDesired = false
	if c.s.TSIG != nil && c.s.TSIG.Queries {
		c.sign(m)
	}
	network := c.s.Transport
	if network == "" {
		network = "udp"
	}
	r, err := c.exchange(ctx, network, server, m.Copy())
	if network == "udp" && ctx.Err() == nil && (timedOut(err) || err == nil && r.Truncated) {
		if viaTCP, tcpErr := c.exchange(ctx, "tcp", server, m.Copy()); tcpErr == nil {
			return viaTCP, nil
		}
	}
	if err != nil {
		return nil, unreachable(err, server)
	}
	return r, nil
}

// authority makes sure that r is an answer from somebody who has the zone.
func (c *client) authority(server string, r *mdns.Msg) error {
	switch {
	case r.Rcode == mdns.RcodeSuccess && r.Authoritative, r.Rcode == mdns.RcodeNameError && r.Authoritative:
		return nil
	case r.Rcode == mdns.RcodeSuccess || r.Rcode == mdns.RcodeNameError:
		return failure.New(failure.Invalid, "ask", server, "it has no authority over %s", mdns.Fqdn(c.s.Zone)).
			WithHint("servers must be the zone's own, not resolvers: dig NS %s", mdns.Fqdn(c.s.Zone))
	}
	return answerError(r, "ask", server, c.s)
}

// update sends one update to the primary: by tcp unless the settings say otherwise, and by udp when the primary
// refuses tcp. A nil error means that the primary has made it durable.
//
// Errors: those of answerError; Unavailable when nothing was sent; Indeterminate when it was sent and no answer that
// can be believed came back.
func (c *client) update(ctx context.Context, m *mdns.Msg) error {
	server, network := c.s.Servers[0], c.s.Transport
	if network == "" {
		network = "tcp"
	}
	c.sign(m)
	r, err := c.exchange(ctx, network, server, m.Copy())
	if c.s.Transport == "" && refused(err) {
		r, err = c.exchange(ctx, "udp", server, m.Copy())
	}
	switch {
	case errors.Is(err, errNotSent):
		return unreachable(err, server)
	case err != nil:
		return failure.WrapAs(failure.Indeterminate, err, "update", server).
			WithHint("the update may have happened: ask with dig @%s %s %s", server, c.s.Name, c.s.Type)
	case r.Rcode != mdns.RcodeSuccess:
		return answerError(r, "update", server, c.s)
	case c.s.TSIG != nil && r.IsTsig() == nil:
		return failure.New(failure.Indeterminate, "update", server, "its answer is not signed").
			WithHint("somebody between us and the server may have answered; ask the server again")
	}
	return nil
}

// replacement is the update that makes the record set hold want, if it still holds have.
func (c *client) replacement(have, want []mdns.RR) *mdns.Msg {
	m := c.condition(have)
	m.RemoveRRset(copies(want[:1]))
	m.Insert(copies(want))
	return m
}

// trial is an update that changes nothing, to learn whether replacement would be taken: servers look at who may change
// a record only where an update names it. It removes a value that is not there, which is ignored (RFC 2136, 3.4.2.4),
// or where all values are there adds one again as it is (3.4.2.2).
func (c *client) trial(have, want []mdns.RR) *mdns.Msg {
	m := c.condition(have)
	for _, rr := range want {
		if !slices.ContainsFunc(have, func(h mdns.RR) bool { return mdns.IsDuplicate(h, rr) }) {
			m.Remove(copies([]mdns.RR{rr}))
			return m
		}
	}
	m.Insert(copies(have[:1]))
	return m
}

// condition begins an update that is carried out only if the record set still is have.
func (c *client) condition(have []mdns.RR) *mdns.Msg {
	m := new(mdns.Msg)
	m.SetUpdate(mdns.Fqdn(c.s.Zone))
	here := []mdns.RR{&mdns.ANY{Hdr: mdns.RR_Header{Name: mdns.Fqdn(c.s.Name), Rrtype: mdns.StringToType[c.s.Type]}}}
	switch {
	case len(have) > 0:
		m.Used(copies(have))
	case c.s.Type == "CNAME":
		m.NameNotUsed(here) // a CNAME stands alone, and servers drop silently what would break that (RFC 2136, 3.4.2.2)
	default:
		m.RRsetNotUsed(here)
	}
	return m
}

func equalNames(a, b string) bool { return mdns.CanonicalName(a) == mdns.CanonicalName(b) }

// find gives the first reply of an authority, which is the primary's when it answers.
func find(replies []reply) (reply, bool) {
	i := slices.IndexFunc(replies, func(r reply) bool { return r.err == nil })
	if i < 0 {
		return reply{}, false
	}
	return replies[i], true
}
