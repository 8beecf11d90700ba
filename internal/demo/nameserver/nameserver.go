// Package nameserver is a small authoritative DNS server for one zone, with dynamic updates (RFC 2136) that are
// authenticated by TSIG (RFC 8945): the third place in which the demo's name lives.
//
// It answers over UDP and TCP, keeps its zone in one file that is replaced whole before an update is acknowledged, and
// follows RFC 2136 as BIND does: prerequisites, then all of the update or nothing, and a new SOA serial when something
// changed. It is not a resolver, does no zone transfers, no DNSSEC and no delegation.
//
// Start with [Start]; the server runs until [Server.Close].
package nameserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Config says what to serve.
type Config struct {
	Listen  string   // host:port, for UDP and TCP alike; port 0 picks a free one
	Zone    string   // the zone's name, such as "demo.test."
	Records []string // the zone's first records, in zone file format, beside the SOA and NS that Start makes
	File    string   // where the zone is kept; empty: in memory. A file that is there already wins over Records
	Key     Key
	Log     *slog.Logger
}

// Key is the one TSIG key that may update the zone.
type Key struct {
	Name      string // fully qualified, such as "lifeboat."
	Algorithm string // such as dns.HmacSHA256
	Secret    string // base64
}

// Server is a running name server.
type Server struct {
	zone  *zone
	key   Key
	log   *slog.Logger
	addr  string
	udp   *dns.Server
	tcp   *dns.Server
	group sync.WaitGroup
	close sync.Once
}

// Start listens and serves. Errors are failure.Invalid for a bad configuration or zone file, failure.Unavailable when
// the address cannot be listened on.
func Start(cfg Config) (*Server, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Key.Name, cfg.Key.Algorithm = dns.CanonicalName(cfg.Key.Name), dns.CanonicalName(cfg.Key.Algorithm)
	z, err := openZone(dns.CanonicalName(cfg.Zone), cfg.Records, cfg.File)
	if err != nil {
		return nil, err
	}
	packets, listener, err := listen(cfg.Listen)
	if err != nil {
		return nil, failure.WrapAs(failure.Unavailable, err, "listen", cfg.Listen)
	}
	s := &Server{zone: z, key: cfg.Key, log: cfg.Log, addr: listener.Addr().String()}
	secrets := map[string]string{cfg.Key.Name: cfg.Key.Secret}
	up := make(chan struct{}, 2)
	started := func() { up <- struct{}{} }
	s.udp = &dns.Server{PacketConn: packets, Handler: s, TsigSecret: secrets, MsgAcceptFunc: accept, NotifyStartedFunc: started}
	s.tcp = &dns.Server{Listener: listener, Handler: s, TsigSecret: secrets, MsgAcceptFunc: accept, NotifyStartedFunc: started}
	for _, server := range []*dns.Server{s.udp, s.tcp} {
		s.group.Go(func() {
			if err := server.ActivateAndServe(); err != nil && !errors.Is(err, net.ErrClosed) {
				s.log.Error("the name server stopped", "error", err)
				select {
				case up <- struct{}{}: // never leave Start waiting
				default:
				}
			}
		})
	}
	<-up
	<-up
	return s, nil
}

// listen binds UDP and TCP to one port.
func listen(address string) (net.PacketConn, net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, nil, err
	}
	for attempt := 0; ; attempt++ {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return nil, nil, err
		}
		bound := listener.Addr().(*net.TCPAddr).Port
		packets, err := net.ListenPacket("udp", net.JoinHostPort(host, strconv.Itoa(bound)))
		if err == nil {
			return packets, listener, nil
		}
		listener.Close()
		if port != "0" || attempt == 20 {
			return nil, nil, err
		}
	}
}

// Addr is where the server listens, as host:port.
func (s *Server) Addr() string { return s.addr }

// Close stops listening, finishes the answers under way and waits for the server's goroutines. Closing again does
// nothing.
func (s *Server) Close(ctx context.Context) error {
	var err error
	s.close.Do(func() {
		err = errors.Join(s.udp.ShutdownContext(ctx), s.tcp.ShutdownContext(ctx))
		s.group.Wait()
	})
	return err
}

// accept lets queries and updates in, and tells the rest that it is not implemented.
func accept(h dns.Header) dns.MsgAcceptAction {
	const response = 1 << 15
	if h.Bits&response != 0 {
		return dns.MsgIgnore
	}
	switch opcode := int(h.Bits>>11) & 0xF; {
	case opcode == dns.OpcodeUpdate:
		return dns.MsgAccept
	case opcode != dns.OpcodeQuery:
		return dns.MsgRejectNotImplemented
	case h.Qdcount != 1:
		return dns.MsgReject
	}
	return dns.MsgAccept
}

// ServeDNS answers one message; it is the handler of both listeners.
func (s *Server) ServeDNS(w dns.ResponseWriter, req *dns.Msg) {
	if req.Opcode == dns.OpcodeUpdate {
		s.update(w, req)
		return
	}
	reply := s.zone.answer(req)
	if opt := req.IsEdns0(); opt != nil {
		reply.SetEdns0(dns.DefaultMsgSize, false)
	}
	if _, overUDP := w.RemoteAddr().(*net.UDPAddr); overUDP {
		size := dns.MinMsgSize
		if opt := req.IsEdns0(); opt != nil {
			size = int(opt.UDPSize())
		}
		reply.Truncate(size)
	}
	s.sign(reply, req, w.TsigStatus())
	s.write(w, reply)
}

// update carries out one RFC 2136 message. Without the right signature nothing is looked at.
func (s *Server) update(w dns.ResponseWriter, req *dns.Msg) {
	reply := new(dns.Msg)
	reply.SetReply(req)
	reply.Question = req.Question
	switch signature := req.IsTsig(); {
	case signature == nil:
		reply.Rcode = dns.RcodeRefused
	case w.TsigStatus() != nil || !s.rightKey(signature):
		reply.Rcode = dns.RcodeNotAuth
	default:
		rcode, serial, err := s.zone.update(req)
		if err != nil {
			s.log.Error("update not stored", "error", err)
		}
		reply.Rcode = rcode
		s.log.Info("update", "from", w.RemoteAddr(), "result", dns.RcodeToString[rcode], "serial", serial)
	}
	s.sign(reply, req, w.TsigStatus())
	s.write(w, reply)
}

func (s *Server) rightKey(t *dns.TSIG) bool {
	return dns.CanonicalName(t.Hdr.Name) == s.key.Name && dns.CanonicalName(t.Algorithm) == s.key.Algorithm
}

// sign answers a signed request in kind. A bad key or signature is told in an unsigned TSIG, a bad time in a signed one
// with the server's clock in it (RFC 8945, 5.2 and 5.3.2).
func (s *Server) sign(reply, req *dns.Msg, status error) {
	t := req.IsTsig()
	if t == nil {
		return
	}
	reply.SetTsig(t.Hdr.Name, t.Algorithm, 300, time.Now().Unix())
	own := reply.IsTsig()
	switch {
	case !s.rightKey(t):
		own.Error, reply.Rcode = dns.RcodeBadKey, dns.RcodeNotAuth
	case errors.Is(status, dns.ErrTime):
		own.Error, reply.Rcode = dns.RcodeBadTime, dns.RcodeNotAuth
		own.TimeSigned = t.TimeSigned
		own.OtherData = fmt.Sprintf("%012x", time.Now().Unix())
		own.OtherLen = uint16(len(own.OtherData) / 2)
	case status != nil:
		own.Error, reply.Rcode = dns.RcodeBadSig, dns.RcodeNotAuth
	}
}

func (s *Server) write(w dns.ResponseWriter, reply *dns.Msg) {
	if err := w.WriteMsg(reply); err != nil {
		s.log.Warn("answer not sent", "to", w.RemoteAddr(), "error", err)
	}
}
