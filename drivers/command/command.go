// Package command makes a program recoverable that can be started, stopped and probed by commands: kind "command".
//
// Either Lifeboat puts the program into the background itself (background: true), or the commands speak to whatever
// looks after it: systemctl, docker, a cluster's tool. It keeps no data of its own safe: what holds data needs a driver
// that knows it. It is no supervisor either: a program that dies later stays dead.
//
// Commands run on a host that may be this machine or behind a prefix such as ssh. They get the variables LIFEBOAT_APP,
// LIFEBOAT_RESOURCE, LIFEBOAT_SITE, LIFEBOAT_PEER, LIFEBOAT_TOKEN, and in a drill LIFEBOAT_DRILL=1.
//
// Start with [New]; how a program is started once and found again is told in package hostproc.
package command

import (
	"log/slog"
	"time"

	"github.com/lifeboat-dr/lifeboat/driver"
	"github.com/lifeboat-dr/lifeboat/model"
)

// Kind is what this driver handles.
const Kind model.Kind = "command"

// handleVersion is the version of the handles that this build writes.
const handleVersion = 1

// again is the pause between two looks at a program.
const again = 100 * time.Millisecond

// keepDays is for how long the records of commands are kept on the host, in days.
const keepDays = 30

// settle is how long a program without a probe must have run to count as started.
const settle = time.Second

// Driver is the command driver. It holds no state between calls.
type Driver struct {
	log *slog.Logger
	now func() time.Time
}

// New makes the driver.
func New(log *slog.Logger) *Driver { return &Driver{log: log, now: time.Now} }

// Facts describes the driver. Its outputs are in the settings: see OutputsOf.
func (d *Driver) Facts() driver.Facts {
	return driver.Facts{
		Kind:     Kind,
		Summary:  "a program or service that is started, stopped and probed by commands",
		Settings: &Settings{},
		Site:     &Settings{},
		Verbs: map[model.Action]string{
			model.ActionPromote: "start", model.ActionQuiesce: "stop", model.ActionFence: "stop",
			model.ActionDrill: "start a copy of", model.ActionRelease: "remove the copy of",
		},
		Effects: map[model.Action]string{
			model.ActionPromote: "starts the program, in place of one that runs there with other settings",
			model.ActionQuiesce: "stops the program",
			model.ActionFence:   "stops the program, by force if need be, and proves that it is gone",
			model.ActionDrill:   "starts a second copy with the drill's settings",
			model.ActionRelease: "stops the copy and removes its folder",
		},
		Timeouts: map[model.Action]time.Duration{
			model.ActionPromote: 5 * time.Minute, model.ActionQuiesce: 2 * time.Minute, model.ActionFence: 2 * time.Minute,
			model.ActionDrill: 5 * time.Minute, model.ActionRelease: 2 * time.Minute,
		},
	}
}

// handle names work on a program. What became of it is on the host.
type handle struct {
	Token   string    `json:"token"`             // under which the program or the stop command was started
	At      time.Time `json:"at"`                // when it was begun, by our clock
	Found   string    `json:"found,omitempty"`   // it was so already, and how
	Command bool      `json:"command,omitempty"` // a command was started whose end is recorded
}

var (
	_ driver.Driver         = (*Driver)(nil)
	_ driver.Promoter       = (*Driver)(nil)
	_ driver.Quiescer       = (*Driver)(nil)
	_ driver.Fencer         = (*Driver)(nil)
	_ driver.Driller        = (*Driver)(nil)
	_ driver.Releaser       = (*Driver)(nil)
	_ driver.OutputDeclarer = (*Driver)(nil)
)
