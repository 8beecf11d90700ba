// Package dns moves clients from site to site by changing one record set of a zone: kind "dns.record".
//
// It speaks to any authoritative server that takes dynamic updates (RFC 2136) signed with TSIG (RFC 8945): BIND, Knot,
// PowerDNS, Windows DNS with a key. It is no resolver, keeps no cache, and never asks a recursive server: what it says
// about a record is what an authority said just now.
//
// A [Driver] redirects: one update replaces the whole record set, on the condition that it still is what was read just
// before, so that somebody else's change is noticed and never overwritten by accident. The redirect is done when every
// server of the zone serves the new values; how long caches may hold the old answer is in the evidence.
package dns

import (
	"log/slog"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Kind is what this driver handles.
const Kind model.Kind = "dns.record"

// handleVersion is the version of the handles that this build writes. It reads only this one.
const handleVersion = 1

// again is the pause between two looks at the servers. A secondary that was notified needs a few milliseconds.
const again = 50 * time.Millisecond

// Driver is the dns.record driver. It holds no state between calls.
type Driver struct {
	log *slog.Logger
	now func() time.Time
}

// New makes the driver.
func New(log *slog.Logger) *Driver { return &Driver{log: log, now: time.Now} }

// Facts describes the driver.
func (d *Driver) Facts() driver.Facts {
	return driver.Facts{
		Kind:     Kind,
		Summary:  "a record set in a DNS zone, changed by signed dynamic update (RFC 2136, TSIG)",
		Settings: &Settings{},
		Site:     &Site{},
		Verbs:    map[model.Action]string{model.ActionRedirect: "switch the name"},
		Effects:  map[model.Action]string{model.ActionRedirect: "replaces the record set by the site's values"},
		Timeouts: map[model.Action]time.Duration{model.ActionRedirect: 2 * time.Minute},
	}
}

var (
	_ driver.Driver     = (*Driver)(nil)
	_ driver.Redirector = (*Driver)(nil)
	_ driver.Owner      = (*Driver)(nil)
)
