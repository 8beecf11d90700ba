package retention

import (
	"slices"
	"strings"
	"time"

	"github.com/lifeboat-dr/lifeboat/failure"
	"github.com/lifeboat-dr/lifeboat/internal/vault/snapshot"
)

// The tags of a legal hold. A snapshot with HoldTag stays, whatever a policy says, and is not forgotten by name either.
// Plain restic knows nothing of it; there, --keep-tag lifeboat-hold has the same effect on policies.
const (
	HoldTag    = "lifeboat-hold"
	holdUntil  = "lifeboat-hold-until="
	holdReason = "lifeboat-hold-reason="
)

// Hold is a legal hold on a snapshot.
type Hold struct {
	// Until is when it ends by itself; zero: when somebody takes it away.
	Until time.Time
	// Reason is for people: a case number, a name.
	Reason string
}

// HoldOf gives the hold that is on s at the instant now. HoldTag alone decides whether there is one; an end that cannot
// be read is none, so that a hold never ends by a slip of the pen. Of several ends the latest counts.
func HoldOf(s *snapshot.Snapshot, now time.Time) (Hold, bool) {
	if !slices.Contains(s.Tags, HoldTag) {
		return Hold{}, false
	}
	var h Hold
	ends, bad := 0, false
	for _, tag := range s.Tags {
		if text, ok := strings.CutPrefix(tag, holdUntil); ok {
			until, err := parseUntil(text)
			bad = bad || err != nil
			if ends++; ends == 1 || until.After(h.Until) {
				h.Until = until
			}
		}
		if text, ok := strings.CutPrefix(tag, holdReason); ok {
			h.Reason = text
		}
	}
	if ends == 0 || bad {
		h.Until = time.Time{}
		return h, true
	}
	return h, now.Before(h.Until)
}

// parseUntil reads the end of a hold: an instant of RFC 3339, or a day, which it outlasts, in UTC.
func parseUntil(text string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	if err != nil {
		return time.Time{}, failure.New(failure.Invalid, "read the end of a hold", "", "%q is neither a day such as 2027-01-31 nor an instant of RFC 3339", text)
	}
	return t.AddDate(0, 0, 1), nil
}

// ParseHold reads a hold as a command takes it. Until may be empty. Invalid: a day that is none, a reason with a comma
// or a line break, which tags cannot hold.
func ParseHold(until, reason string) (Hold, error) {
	h := Hold{Reason: strings.TrimSpace(reason)}
	if strings.ContainsAny(h.Reason, ",\n\r") {
		return Hold{}, failure.New(failure.Invalid, "read the reason of a hold", "", "%q holds a comma or a line break, which a tag cannot", reason)
	}
	if until == "" {
		return h, nil
	}
	var err error
	h.Until, err = parseUntil(until)
	return h, err
}

// Tags are what a snapshot on hold has: HoldTag, the end, the reason.
func (h Hold) Tags() []string {
	tags := []string{HoldTag}
	if !h.Until.IsZero() {
		tags = append(tags, holdUntil+h.Until.UTC().Format(time.RFC3339))
	}
	if h.Reason != "" {
		tags = append(tags, holdReason+h.Reason)
	}
	return tags
}

// IsHoldTag reports whether tag says something about a hold.
func IsHoldTag(tag string) bool {
	return tag == HoldTag || strings.HasPrefix(tag, holdUntil) || strings.HasPrefix(tag, holdReason)
}

// String is the reason for which a snapshot on hold stays.
func (h Hold) String() string {
	text := "legal hold"
	if !h.Until.IsZero() {
		text += " until " + h.Until.UTC().Format(time.RFC3339)
	}
	if h.Reason != "" {
		text += ": " + h.Reason
	}
	return text
}
