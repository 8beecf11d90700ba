// Package failure is Lifeboat's one error taxonomy.
//
// Every error that crosses a room carries an operation, a subject, a kind, a cause and a hint: what the operator does
// next. The kind decides what happens by itself: whether the engine tries again ([Kind.Retryable]), which HTTP status an
// API answers ([Kind.HTTPStatus]), with which code a command exits ([Kind.ExitCode]) and how loudly health reports it
// ([Kind.Severity]). Drivers map foreign errors to kinds in one place each; nobody else looks at foreign errors or at
// the text of a message. The shape follows Upspin's errors package.
//
// Start with [New] or [Wrap], ask with [KindOf] or errors.Is(err, failure.NotFound).
package failure

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Kind says what sort of failure it is. The zero Kind is Internal, so that a forgotten kind is loud.
type Kind uint8

// The kinds. Their order is part of no contract; their names are (they are written to journals and reports).
const (
	Internal      Kind = iota // a defect of ours
	NotFound                  // the subject does not exist
	Exists                    // the subject exists already and is not what was asked for
	Invalid                   // the request or configuration is wrong; trying again cannot help
	Denied                    // permission, a policy or a missing approval forbids it
	Conflict                  // somebody else is changing the subject, or it is in the wrong state for now
	Throttled                 // the other side asks us to slow down
	Unavailable               // the other side cannot be reached or does not answer
	Unsupported               // this driver, server version or platform cannot do it
	Corrupt                   // data read back is not what was written
	Indeterminate             // the call may or may not have had its effect: observe before trying again
	Canceled                  // the caller gave up
)

var names = [...]string{
	Internal: "internal", NotFound: "not_found", Exists: "exists", Invalid: "invalid", Denied: "denied",
	Conflict: "conflict", Throttled: "throttled", Unavailable: "unavailable", Unsupported: "unsupported",
	Corrupt: "corrupt", Indeterminate: "indeterminate", Canceled: "canceled",
}

// Kinds lists every kind, for tables and their tests.
func Kinds() []Kind {
	all := make([]Kind, len(names))
	for i := range all {
		all[i] = Kind(i)
	}
	return all
}

// String gives the kind's stable name.
func (k Kind) String() string {
	if int(k) < len(names) {
		return names[k]
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Error lets a Kind stand as a sentinel: errors.Is(err, failure.NotFound).
func (k Kind) Error() string { return strings.ReplaceAll(k.String(), "_", " ") }

// MarshalText writes the stable name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads a stable name; an unknown one is an error.
func (k *Kind) UnmarshalText(text []byte) error {
	for i, name := range names {
		if name == string(text) {
			*k = Kind(i)
			return nil
		}
	}
	return fmt.Errorf("unknown failure kind %q", text)
}

// Error is one failure: what was tried (Op), on what (Subject), of which Kind, why (Cause), and what to do next (Hint).
// Message, when set, says what is wrong in one line; otherwise the cause does. An Error is immutable once returned.
type Error struct {
	Op      string
	Subject string
	Kind    Kind
	Message string
	Hint    string
	Cause   error
}

// New makes an Error with a formatted message. Op is a verb phrase such as "promote"; subject names the thing.
func New(kind Kind, op, subject, format string, args ...any) *Error {
	return &Error{Op: op, Subject: subject, Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Wrap puts op and subject around cause, keeping the kind and the hint that the cause carries. A nil cause gives nil.
func Wrap(cause error, op, subject string) error {
	if cause == nil {
		return nil
	}
	return &Error{Op: op, Subject: subject, Kind: KindOf(cause), Hint: HintOf(cause), Cause: cause}
}

// WrapAs is Wrap with a kind of the caller's choosing: the one place where a foreign error gets its kind.
func WrapAs(kind Kind, cause error, op, subject string) *Error {
	return &Error{Op: op, Subject: subject, Kind: kind, Hint: HintOf(cause), Cause: cause}
}

// WithHint returns a copy that tells the operator what to do next.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// Error is "op subject: message: cause", without the hint.
func (e *Error) Error() string {
	var parts []string
	if head := strings.TrimSpace(e.Op + " " + e.Subject); head != "" {
		parts = append(parts, head)
	}
	if e.Message != "" {
		parts = append(parts, e.Message)
	}
	if e.Cause != nil {
		parts = append(parts, e.Cause.Error())
	}
	if e.Message == "" && e.Cause == nil {
		parts = append(parts, e.Kind.Error())
	}
	return strings.Join(parts, ": ")
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Is matches a Kind used as a sentinel.
func (e *Error) Is(target error) bool {
	k, ok := target.(Kind)
	return ok && k == e.Kind
}

// wire is how an Error is written down; the cause becomes text.
type wire struct {
	Op      string `json:"op,omitempty"`
	Subject string `json:"subject,omitempty"`
	Kind    Kind   `json:"kind"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

// MarshalJSON writes the error with its cause flattened into the message.
func (e *Error) MarshalJSON() ([]byte, error) {
	w := wire{Op: e.Op, Subject: e.Subject, Kind: e.Kind, Message: e.Message, Hint: e.Hint}
	if e.Cause != nil {
		w.Message = strings.TrimPrefix(w.Message+": "+e.Cause.Error(), ": ")
	}
	return json.Marshal(w)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (e *Error) UnmarshalJSON(b []byte) error {
	var w wire
	if err := json.Unmarshal(b, &w); err != nil {
		return err
	}
	*e = Error{Op: w.Op, Subject: w.Subject, Kind: w.Kind, Message: w.Message, Hint: w.Hint}
	return nil
}

// From turns any error into an *Error; one without a kind becomes what KindOf says.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok {
		return e
	}
	return &Error{Kind: KindOf(err), Hint: HintOf(err), Cause: err}
}

// KindOf finds the kind of err: that of the outermost Error in its chain; Canceled and Unavailable for the errors of a
// context; Internal otherwise. KindOf(nil) is meaningless and panics.
func KindOf(err error) Kind {
	if err == nil {
		panic("failure.KindOf(nil)")
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	var k Kind
	if errors.As(err, &k) {
		return k
	}
	switch {
	case errors.Is(err, context.Canceled):
		return Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return Unavailable
	}
	return Internal
}

// Classified reports whether err carries a kind. A mutating call that ends in an unclassified error is Indeterminate.
func Classified(err error) bool {
	var e *Error
	var k Kind
	return errors.As(err, &e) || errors.As(err, &k)
}

// HintOf finds the outermost hint in err's chain, or "".
func HintOf(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Cause
	}
	return ""
}
