package report

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"

	"github.com/lifeboat-dr/lifeboat/api"
	"github.com/lifeboat-dr/lifeboat/failure"
)

// What is hashed and signed begins with a line that says what it is, so that no hash or signature of one kind can
// stand for another.
const (
	eventDomain  = "lifeboat event v1\n"
	reportDomain = "lifeboat report v1\n"
	algorithm    = "ed25519"
)

// Chain gives events with their hashes: each is SHA-256 over "lifeboat event v1\n", the hash before it (hex; nothing
// for the first), "\n" and the event's canonical JSON without its hash. It changes nothing in the argument.
func Chain(events []api.Event) []api.Event {
	out := slices.Clone(events)
	prev := ""
	for i := range out {
		out[i].Hash = ""
		n, err := nodeOf(out[i])
		if err != nil {
			panic(fmt.Sprintf("report: an event cannot be marshalled: %v", err)) // all fields are plain data
		}
		prev = link(prev, n)
		out[i].Hash = prev
	}
	return out
}

// link is the hash of one event after another's.
func link(prev string, event *node) string {
	h := sha256.New()
	h.Write([]byte(eventDomain + prev + "\n"))
	h.Write(event.without("hash").canonical())
	return hex.EncodeToString(h.Sum(nil))
}

// content is the hash of a whole report but for its signature.
func content(report *node) string {
	sum := sha256.Sum256(report.without("signature").canonical())
	return hex.EncodeToString(sum[:])
}

// signed is the message under the signature.
func signed(head, content string) []byte { return []byte(reportDomain + head + "\n" + content) }

// Sign chains r's events and signs r. Whatever is changed in r afterwards makes it invalid.
func Sign(r *api.Report, key ed25519.PrivateKey) error {
	if len(key) != ed25519.PrivateKeySize {
		return failure.New(failure.Invalid, "sign", "report", "the key is not an Ed25519 private key")
	}
	r.Events = Chain(r.Events)
	r.Signature = nil
	n, err := nodeOf(r)
	if err != nil {
		return err
	}
	head := ""
	if len(r.Events) > 0 {
		head = r.Events[len(r.Events)-1].Hash
	}
	sum := content(n)
	r.Signature = &api.Signature{
		Algorithm: algorithm, PublicKey: PublicKeyText(key.Public().(ed25519.PublicKey)), Head: head, Content: sum,
		Value: base64.StdEncoding.EncodeToString(ed25519.Sign(key, signed(head, sum))),
	}
	return nil
}

// PublicKeyText writes a public key as reports do: its 32 bytes in base64.
func PublicKeyText(key ed25519.PublicKey) string { return base64.StdEncoding.EncodeToString(key) }

// ParsePublicKey reads what PublicKeyText wrote; anything else is failure.Invalid.
func ParsePublicKey(text string) (ed25519.PublicKey, error) {
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil || len(b) != ed25519.PublicKeySize || base64.StdEncoding.EncodeToString(b) != text {
		return nil, failure.New(failure.Invalid, "read", "public key", "%q is not 32 bytes in base64", text)
	}
	return b, nil
}

// Verify checks the JSON that Render wrote, byte for byte, with nothing but the bytes: layout, hash chain, content and
// signature, and when trusted keys are given that one of them signed it. What is wrong is in the reply's Problem; an
// error means that the question was wrong. A valid reply without trusted keys says that the report is whole and who
// can have signed it, not that its signer is to be believed: compare PublicKey.
func Verify(report []byte, trusted ...ed25519.PublicKey) (*api.VerifyReply, error) {
	for _, k := range trusted {
		if len(k) != ed25519.PublicKeySize {
			return nil, failure.New(failure.Invalid, "verify", "report", "a trusted key is not an Ed25519 public key")
		}
	}
	reply := &api.VerifyReply{}
	n, err := parse(report)
	if err != nil {
		reply.Problem = "not a JSON document as reports are: " + err.Error()
		return reply, nil
	}
	if n.kind != 'o' {
		reply.Problem = "not a report: the document is not an object"
		return reply, nil
	}
	reply.PublicKey = n.get("signature").str("public_key")
	head, events, problem := verifyChain(n.get("events"))
	reply.Events = events
	if problem == "" {
		problem = verifySignature(n, head, trusted)
	}
	if problem == "" {
		problem = verifyLayout(report, n.indented())
	}
	reply.Problem, reply.Valid = problem, problem == ""
	return reply, nil
}

// verifyChain recomputes each event's hash and gives the last one.
func verifyChain(events *node) (head string, n int, problem string) {
	if events == nil || events.kind != 'a' {
		if events != nil && events.kind == 'l' && events.text == "null" {
			return "", 0, ""
		}
		return "", 0, "there is no list of events"
	}
	for i, e := range events.kids {
		if e.kind != 'o' {
			return "", i, fmt.Sprintf("event %d of %d is not an object", i+1, len(events.kids))
		}
		want := link(head, e)
		if got := e.str("hash"); got != want {
			name := fmt.Sprintf("event %d of %d (%s %s)", i+1, len(events.kids), printable(e.str("kind")), printable(e.str("step")))
			return "", i, name + " does not match its hash: it was changed, or an event before it was changed, added or removed"
		}
		head = want
	}
	return head, len(events.kids), ""
}

func verifySignature(n *node, head string, trusted []ed25519.PublicKey) string {
	sig := n.get("signature")
	if sig == nil || sig.kind != 'o' {
		return "the report is not signed"
	}
	want := []string{"algorithm", "public_key", "head", "content", "value"}
	if !slices.Equal(sig.keys, want) {
		return fmt.Sprintf("the signature does not consist of %v", want)
	}
	if a := sig.str("algorithm"); a != algorithm {
		return fmt.Sprintf("signed with algorithm %q; this build knows %s", a, algorithm)
	}
	key, err := ParsePublicKey(sig.str("public_key"))
	if err != nil {
		return "the signature's public key is damaged: " + err.Error()
	}
	if sig.str("head") != head {
		return "the signature is for other events: its head is not the last event's hash"
	}
	sum := content(n)
	if sig.str("content") != sum {
		return "something outside of the events was changed after signing: the content hash is not that of this report"
	}
	value, err := base64.StdEncoding.Strict().DecodeString(sig.str("value"))
	if err != nil || base64.StdEncoding.EncodeToString(value) != sig.str("value") {
		return "the signature's value is damaged"
	}
	if !ed25519.Verify(key, signed(head, sum), value) {
		return "the signature is not by the key it names"
	}
	if len(trusted) > 0 && !slices.ContainsFunc(trusted, func(k ed25519.PublicKey) bool { return k.Equal(key) }) {
		return "the report is whole, but signed by a key that is not among the trusted ones"
	}
	return ""
}

// verifyLayout compares a document with the one way in which its content is written.
func verifyLayout(got, want []byte) string {
	if bytes.Equal(got, want) {
		return ""
	}
	at := 0
	for at < len(got) && at < len(want) && got[at] == want[at] {
		at++
	}
	line := 1 + bytes.Count(got[:at], []byte("\n"))
	return fmt.Sprintf("line %d is not as Lifeboat writes it: blanks, escapes or the order were changed after signing", line)
}
