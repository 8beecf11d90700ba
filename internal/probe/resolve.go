package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	mdns "github.com/miekg/dns"
)

// maxAliases bounds a chain of CNAMEs.
const maxAliases = 8

// dialer dials names that it looks up at the given server, or by the system's resolver when server is empty.
type dialer struct{ server string }

// DialContext resolves the host now and tries its addresses in order.
func (d dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	plain := &net.Dialer{}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); d.server == "" || err == nil {
		return plain.DialContext(ctx, network, address)
	}
	addrs, err := lookup(ctx, d.server, host)
	if err != nil {
		return nil, err
	}
	var first error
	for i, a := range addrs {
		// No address may use up the time of those after it.
		one, cancel := share(ctx, len(addrs)-i)
		conn, err := plain.DialContext(one, network, net.JoinHostPort(a.String(), port))
		cancel()
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// share gives one of n tries its part of the time that is left.
func share(ctx context.Context, n int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok || n == 1 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(n))
}

// lookup asks one DNS server, and nobody else, for the addresses of host: no hosts file, no search list, no cache.
func lookup(ctx context.Context, server, host string) ([]netip.Addr, error) {
	name := mdns.Fqdn(host)
	for range maxAliases {
		alias := ""
		for _, typ := range []uint16{mdns.TypeA, mdns.TypeAAAA} {
			r, err := ask(ctx, server, name, typ)
			if err != nil {
				return nil, fmt.Errorf("look up %s at %s: %w", host, server, err)
			}
			addrs, end := collect(r, name)
			if len(addrs) > 0 {
				return addrs, nil
			}
			if end != name {
				alias = end
			}
			if r.Rcode != mdns.RcodeSuccess && alias == "" {
				return nil, fmt.Errorf("look up %s at %s: %s", host, server, mdns.RcodeToString[r.Rcode])
			}
		}
		if alias == "" {
			return nil, fmt.Errorf("look up %s at %s: no address", host, server)
		}
		name = alias
	}
	return nil, fmt.Errorf("look up %s at %s: more than %d aliases", host, server, maxAliases)
}

// collect follows the aliases in one answer from name, and gives the addresses at their end.
func collect(r *mdns.Msg, name string) (addrs []netip.Addr, end string) {
	end = name
	for range maxAliases {
		next := ""
		for _, rr := range r.Answer {
			if mdns.CanonicalName(rr.Header().Name) != mdns.CanonicalName(end) {
				continue
			}
			switch rr := rr.(type) {
			case *mdns.A:
				if a, ok := netip.AddrFromSlice(rr.A); ok {
					addrs = append(addrs, a.Unmap())
				}
			case *mdns.AAAA:
				if a, ok := netip.AddrFromSlice(rr.AAAA); ok {
					addrs = append(addrs, a)
				}
			case *mdns.CNAME:
				next = rr.Target
			}
		}
		if next == "" {
			return addrs, end
		}
		end = next
	}
	return addrs, end
}

// ask sends one question by udp, and again by tcp when the answer does not fit.
func ask(ctx context.Context, server, name string, typ uint16) (*mdns.Msg, error) {
	m := new(mdns.Msg)
	m.SetQuestion(name, typ)
	r, err := exchange(ctx, "udp", server, m)
	if err == nil && r.Truncated {
		return exchange(ctx, "tcp", server, m)
	}
	return r, err
}

func exchange(ctx context.Context, network, server string, m *mdns.Msg) (*mdns.Msg, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, server)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	dc := &mdns.Conn{Conn: conn}
	if err := dc.WriteMsg(m); err != nil {
		return nil, err
	}
	for {
		r, err := dc.ReadMsg()
		if err != nil && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			return nil, err
		}
		if r.Id == m.Id {
			return r, nil
		}
		if network == "tcp" {
			return nil, errors.New("an answer to something else")
		}
	}
}
