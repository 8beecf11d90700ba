package journal

import (
	"strings"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Validate refuses, with failure.Invalid, a transaction that no Store takes: one over [MaxOps] or [MaxBytes] (keys and
// values of all conditions and writes together), one that writes a key twice, or one whose ops contradict themselves.
// Every Store calls it first, so that a transaction is refused alike everywhere and before anything is written.
func (t Txn) Validate() error {
	if len(t.If) > MaxOps || len(t.Then) > MaxOps {
		return invalidTxn("", "%d conditions and %d writes; the limit is %d of each", len(t.If), len(t.Then), MaxOps)
	}
	size := 0
	for _, cond := range t.If {
		if cond.Key == "" {
			return invalidTxn("", "a condition without a key")
		}
		if cond.Mod < 0 {
			return invalidTxn(cond.Key, "revision %d in a condition", cond.Mod)
		}
		size += len(cond.Key)
	}
	for _, op := range t.Then {
		if err := op.validate(); err != nil {
			return err
		}
		size += len(op.Key) + len(op.Value)
	}
	if size > MaxBytes {
		return invalidTxn("", "%d bytes; the limit is %d", size, MaxBytes)
	}
	return t.validateDistinct()
}

func (op Op) validate() error {
	switch {
	case op.Prefix && !op.Delete:
		return invalidTxn(op.Key, "a prefix can be deleted, not put")
	case op.Key == "" && !op.Prefix:
		return invalidTxn("", "a write without a key")
	case op.Delete && len(op.Value) > 0:
		return invalidTxn(op.Key, "a deletion with a value")
	case op.Delete && op.Session != "":
		return invalidTxn(op.Key, "a deletion under a session")
	}
	return nil
}

// validateDistinct refuses two writes of one key, prefixes included.
func (t Txn) validateDistinct() error {
	written := make(map[string]bool, len(t.Then))
	for _, op := range t.Then {
		if op.Prefix {
			continue
		}
		if written[op.Key] {
			return invalidTxn(op.Key, "written twice in one transaction")
		}
		written[op.Key] = true
	}
	for i, op := range t.Then {
		if !op.Prefix {
			continue
		}
		for j, other := range t.Then {
			if j != i && (strings.HasPrefix(other.Key, op.Key) || other.Prefix && strings.HasPrefix(op.Key, other.Key)) {
				return invalidTxn(other.Key, "written twice in one transaction: prefix %q is deleted in it", op.Key)
			}
		}
	}
	return nil
}

func invalidTxn(key, format string, args ...any) error {
	subject := "journal"
	if key != "" {
		subject = "journal key " + key
	}
	return failure.New(failure.Invalid, "commit", subject, format, args...)
}
