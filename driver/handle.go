package driver

import (
	"encoding/json"

	"github.com/lifeboat-dr/lifeboat/failure"
)

// Handle names work that was begun. Data is the driver's own, opaque to everybody else and at most 16 KiB; Version is
// the driver's, so that a later build can read it. It holds no secret.
type Handle struct {
	Version int             `json:"version"`
	Data    json.RawMessage `json:"data,omitempty"`
}

// NewHandle writes v, as JSON, into a handle of the driver's version.
func NewHandle(version int, v any) (Handle, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Handle{}, failure.WrapAs(failure.Internal, err, "write handle", "")
	}
	return Handle{Version: version, Data: data}, nil
}

// ReadHandle reads what NewHandle wrote. A handle of another version is failure.Unsupported, one that is no T
// failure.Corrupt.
func ReadHandle[T any](version int, h Handle) (T, error) {
	var v T
	if h.Version != version {
		return v, failure.New(failure.Unsupported, "read handle", "", "a handle of version %d", h.Version).
			WithHint("finish the run with the version of lifeboat that began it")
	}
	if err := json.Unmarshal(h.Data, &v); err != nil {
		return v, failure.WrapAs(failure.Corrupt, err, "read handle", "")
	}
	return v, nil
}
