package dns

import (
	"context"
	"errors"
	"net"
	"syscall"

	mdns "github.com/miekg/dns"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// unreachable is the error of a message that brought no answer and changed nothing.
func unreachable(err error, server string) error {
	if errors.Is(err, context.Canceled) {
		return failure.WrapAs(failure.Canceled, err, "reach", server)
	}
	return failure.WrapAs(failure.Unavailable, err, "reach", server).
		WithHint("is the server up? dig @%s +tcp . SOA", server)
}

// timedOut reports whether no answer came in time.
func timedOut(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout() || errors.Is(err, context.DeadlineExceeded)
}

// refused reports whether nobody listens there.
func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// meaning is what an answer's code says, and what to do about it.
type meaning struct {
	kind failure.Kind
	what string
	hint string
}

// rcodes are the codes of answers that refuse something (RFC 1035, 4.1.1; RFC 2136, 2.2).
var rcodes = map[int]meaning{
	mdns.RcodeFormatError: {failure.Invalid, "it does not understand the request", "does the server take dynamic updates?"},
	mdns.RcodeServerFailure: {failure.Unavailable, "it failed (SERVFAIL)",
		"its log says why: often a journal that it cannot write, or a zone that it could not load"},
	mdns.RcodeNotImplemented: {failure.Unsupported, "it does not do that", "does the server take dynamic updates?"},
	mdns.RcodeRefused: {failure.Denied, "it refuses (REFUSED)",
		"allow the key in the zone: update-policy { grant KEY name NAME TYPE; }; and ask a server that has the zone"},
	mdns.RcodeNotAuth: {failure.Denied, "it is not the zone's primary, or does not take this key for it (NOTAUTH)",
		"is the zone's name right, and servers[0] its primary?"},
	mdns.RcodeNotZone:   {failure.Invalid, "the name is not in the zone (NOTZONE)", "name the zone that holds the record"},
	mdns.RcodeNameError: {failure.Conflict, "the record went away meanwhile", "somebody else is changing the zone"},
	mdns.RcodeNXRrset: {failure.Conflict, "the record is not what it was a moment ago (NXRRSET)",
		"somebody else is changing it, or a wildcard answers for it: then create the record first"},
	mdns.RcodeYXRrset:  {failure.Conflict, "the record was made meanwhile (YXRRSET)", "somebody else is changing the zone"},
	mdns.RcodeYXDomain: {failure.Conflict, "the name has other records (YXDOMAIN)", "a CNAME can only stand alone: remove the others"},
}

// tsigCodes are the codes in the signature of a NOTAUTH answer (RFC 8945, 5.2).
var tsigCodes = map[uint16]meaning{
	mdns.RcodeBadSig: {failure.Denied, "our signature is wrong (BADSIG)",
		"the secret or the algorithm differs from the server's for this key"},
	mdns.RcodeBadKey: {failure.Denied, "it does not know our key (BADKEY)",
		"is tsig.name spelt as in the server's configuration, and the algorithm the same?"},
	mdns.RcodeBadTime: {failure.Denied, "our clocks differ too much (BADTIME)",
		"set the clock here and at the server: five minutes apart is too much"},
	mdns.RcodeBadTrunc: {failure.Denied, "our signature is too short (BADTRUNC)", "use hmac-sha256"},
}

// answerError is the error of an answer whose code refuses.
func answerError(r *mdns.Msg, op, server string, s *Settings) error {
	m, known := rcodes[r.Rcode]
	if t := r.IsTsig(); t != nil && r.Rcode == mdns.RcodeNotAuth {
		if byKey, ok := tsigCodes[t.Error]; ok {
			m, known = byKey, true
		}
	}
	if !known {
		return failure.New(failure.Unavailable, op, server, "it answers %s", mdns.RcodeToString[r.Rcode])
	}
	return failure.New(m.kind, op, server, "%s", m.what+": "+mdns.Fqdn(s.Name)+" "+s.Type).WithHint("%s", m.hint)
}
