package driver

import (
	"context"
	"encoding/json"
	"time"
)

// Asker asks a check's question once, outside of any run: the probe that a client would send. It is built to be called
// several times a second: it keeps no connection, no cached name and no goroutine between calls, since a probe that
// reuses what it learnt before a failover measures nothing.
//
// Implement it for every kind that can stand under `probe:`. An error means that the question cannot be asked at all
// (bad settings, a secret that cannot be read); a server that refuses, or does not answer before the settings'
// timeout, is an Answer that is not OK. When ctx ends first, the error is ctx's.
type Asker interface {
	Ask(ctx context.Context, settings json.RawMessage) (Answer, error)
}

// Answer is what came back.
type Answer struct {
	OK     bool          `json:"ok"`
	Detail string        `json:"detail"` // for people: what was seen, and what was expected when it is not OK
	Took   time.Duration `json:"took"`   // from the first packet to the whole answer; name resolution is in it
}
